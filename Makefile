# The commands of this project. 'demo' and 'check' need root, and install what they miss with apt-get.

# Not /usr/local: nbd-server starts nbdswapd, and looks for it in /usr/sbin.
PREFIX = /usr
DESTDIR =
PROGRAM = target/release/ltsp-update-image

.PHONY: all demo check install clean

all:
	cargo build --release --locked

# Make an image of a small Debian, serve it with the real nbd-server, read it back, and show that it is right.
demo:
	compat-tests/prepare.sh demo compat-tests/demo.sh

# All tests, the netboot included.
check:
	compat-tests/prepare.sh check compat-tests/check.sh

# Install what 'make' has built. Configuration files that are there already are the administrator's: they stay.
install:
	install -D -m 0755 '$(PROGRAM)' '$(DESTDIR)$(PREFIX)/sbin/ltsp-update-image'
	for name in ltsp-update-kernels ltsp-config nbdswapd; do \
		ln -sf ltsp-update-image "$(DESTDIR)$(PREFIX)/sbin/$$name" || exit 1; done
	for file in $(notdir $(wildcard etc/*)); do [ -e "$(DESTDIR)/etc/ltsp/$$file" ] || \
		install -D -m 0644 "etc/$$file" "$(DESTDIR)/etc/ltsp/$$file" || exit 1; done
	for page in $(notdir $(wildcard man/*.8)); do \
		install -D -m 0644 "man/$$page" "$(DESTDIR)$(PREFIX)/share/man/man8/$$page" || exit 1; done

clean:
	rm -rf target
