# The commands of this project. 'demo' and 'check' need root, and install what they miss with apt-get.

# Not /usr/local: nbd-server starts nbdswapd, and looks for it in /usr/sbin.
PREFIX = /usr
DESTDIR =
PROGRAM = target/release/ltsp-update-image
LTSP = target/release/ltsp
TOOLS = ltsp-update-kernels ltsp-config nbdswapd
LTSP_PAGES = ltsp ltsp-image ltsp-kernel ltsp-migrate ltsp-nbd

.PHONY: all demo check check-trees bench install install-ltsp clean

all:
	cargo build --release --locked

# Make an image of a small Debian, serve it with the real nbd-server, read it back, and show that it is right.
demo:
	compat-tests/prepare.sh demo compat-tests/demo.sh

# All tests, the netboot included.
check:
	compat-tests/prepare.sh check compat-tests/check.sh

# What takes too long for 'check': 1,900 more random trees for the built-in squashfs writer, a directory of 300,000
# names, and many more damaged images. Half an hour.
check-trees:
	SQUASHFS_FIRST_TREE=100 SQUASHFS_TREES=1900 SQUASHFS_NAMES=300000 SQUASHFS_DAMAGE_TIMES=20 \
		compat-tests/prepare.sh check cargo test --release --locked --test squashfs -- --show-output

# Measure the built-in squashfs writer against mksquashfs, on a minimal and a desktop system. Takes an hour.
bench:
	compat-tests/prepare.sh bench compat-tests/bench/squashfs.sh

# Install what 'make' has built. Configuration files that are there already are the administrator's: they stay.
install:
	install -D -m 0755 '$(PROGRAM)' '$(DESTDIR)$(PREFIX)/sbin/ltsp-update-image'
	for name in $(TOOLS); do \
		ln -sf ltsp-update-image "$(DESTDIR)$(PREFIX)/sbin/$$name" || exit 1; done
	for file in $(notdir $(wildcard etc/*)); do [ -e "$(DESTDIR)/etc/ltsp/$$file" ] || \
		install -D -m 0644 "etc/$$file" "$(DESTDIR)/etc/ltsp/$$file" || exit 1; done
	for page in ltsp-update-image $(TOOLS); do \
		install -D -m 0644 "man/$$page.8" "$(DESTDIR)$(PREFIX)/share/man/man8/$$page.8" || exit 1; done

# Install 'ltsp' with its pages, too. They have the names of files in the package ltsp: 'dpkg-divert' those first.
install-ltsp:
	install -D -m 0755 '$(LTSP)' '$(DESTDIR)$(PREFIX)/sbin/ltsp'
	for page in $(LTSP_PAGES); do \
		install -D -m 0644 "man/$$page.8" "$(DESTDIR)$(PREFIX)/share/man/man8/$$page.8" || exit 1; done

clean:
	rm -rf target
