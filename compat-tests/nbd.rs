//! The exports that `ltsp-update-image` makes, served by the real nbd-server to clients in networks that the
//! allow file admits and in others that it refuses.

mod rigs;

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rigs::nbd::Connection;
use rigs::world::{Network, World, succeeds, texts};
use rigs::{chroot, excludes, tree, wait_for};

/// In 192.168.0.0/16, which the allow file names (N20).
const ADMITTED: &str = "192.168.67";
/// In no network of the allow file.
const REFUSED: &str = "203.0.113";

// N7, N20: the image of a chroot is what an admitted client gets, to the byte, and read-only.
#[test]
fn an_admitted_client_gets_the_image_byte_for_byte() {
    let world = World::new();
    let lan = world.add_network(ADMITTED);
    world.add_chroot("lab", &chroot::demo());
    world.run("ltsp-update-image lab");
    wait_for("nbd-server", || served(&lan, "/opt/ltsp/lab"));

    succeeds(lan.command(&world, "nbdcopy").args([&lan.uri("lab"), "/opt/ltsp/received"]));
    let image = world.path("/opt/ltsp/images/lab.img");
    assert_eq!(tree::first_difference(&image, &world.path("/opt/ltsp/received")), None);

    let received = world.mount("/opt/ltsp/received", "/run/received");
    let left_out = excludes::left_out(&world.path("/etc/ltsp/ltsp-update-image.excludes"), &chroot::demo());
    let comparison = tree::compare(&chroot::demo(), &received, &left_out);
    assert!(comparison.differences.is_empty(), "{:#?}", comparison.differences);

    let mut client = connected(&lan, "/opt/ltsp/lab");
    assert!(client.read_only);
    let refusal = client.write(0, &[0; 512]).expect_err("an image cannot be written");
    assert_eq!(refusal.kind(), ErrorKind::PermissionDenied);
}

// N20: a client of another network gets nothing, whatever it asks for; and the server goes on serving.
#[test]
fn a_client_that_the_allow_file_does_not_name_is_refused() {
    let world = World::new();
    let lan = world.add_network(ADMITTED);
    let elsewhere = world.add_network(REFUSED);
    world.add_chroot("lab", &small_tree(&world, "lab"));
    world.run("ltsp-update-image lab");
    wait_for("nbd-server", || served(&lan, "/opt/ltsp/lab"));

    for export in ["/opt/ltsp/lab", "swap"] {
        let error = elsewhere.on_client(|| Connection::open(&elsewhere.server, export).err());
        assert!(error.is_some(), "{export} was served to {}", elsewhere.client);
    }
    let output =
        elsewhere.command(&world, "nbdinfo").arg(elsewhere.uri("lab")).output().expect("running nbdinfo");
    assert!(!output.status.success(), "{}", texts(&output));
    connected(&lan, "/opt/ltsp/lab");
}

// Must show 4 of the first capability. With several images: nbd-server 3.24, told to reload, most easily comes to
// harm with three to six exports.
#[test]
fn a_client_goes_on_reading_while_images_are_added_and_they_are_served() {
    let world = World::new();
    let lan = world.add_network(ADMITTED);
    let names: Vec<String> = (1..=8).map(|number| format!("lab{number}")).collect();
    for name in &names {
        world.add_chroot(name, &small_tree(&world, name));
    }
    succeeds(world.command("ltsp-update-image").args(&names[..3]));
    wait_for("nbd-server", || served(&lan, "/opt/ltsp/lab3"));
    let server = world.nbd_server().expect("nbd-server's process");
    let old_image = fs::read(world.path("/opt/ltsp/images/lab1.img")).expect("the first image");

    let reader = Reader::default();
    std::thread::scope(|scope| {
        scope.spawn(|| lan.on_client(|| reader.read_on(&lan, "/opt/ltsp/lab1", &old_image)));
        // Whatever fails here, the reader ends, so that the failure is reported.
        let _stop = StopOnDrop(&reader);
        reader.wait_for_a_whole_reading();

        for (count, name) in names.iter().enumerate().skip(3) {
            let output = world.run(&format!("ltsp-update-image {name}"));
            assert!(output.stderr.is_empty(), "{}", texts(&output));
            assert_eq!(world.nbd_server(), Some(server), "nbd-server was restarted, or has ended");
            reader.wait_for_a_whole_reading();
            for known in &names[..=count] {
                let image = fs::read(world.path(format!("/opt/ltsp/images/{known}.img"))).expect("an image");
                let export = format!("/opt/ltsp/{known}");
                wait_for(&format!("the export {export}"), || served(&lan, &export));
                assert!(
                    contents(&mut connected(&lan, &export)) == image,
                    "{export} is served with other contents"
                );
            }
        }
        // The image that the client reads is replaced: it goes on reading the old one (U72).
        world.run("ltsp-update-image lab1");
        reader.wait_for_a_whole_reading();
    });
}

// N6, N30 to N32: each client gets a swap area of its own, while it is connected.
#[test]
fn each_client_gets_a_swap_area_of_its_own() {
    let world = World::new();
    let [first, second] = [ADMITTED, "10.67.0"].map(|network| world.add_network(network));
    fs::write(world.path("/etc/ltsp/nbdswapd.conf"), "SIZE=64\n").expect("nbdswapd's configuration");
    world.add_chroot("lab", &small_tree(&world, "lab"));
    world.run("ltsp-update-image lab");
    wait_for("nbd-server", || served(&first, "/opt/ltsp/lab"));

    let mut swaps = [&first, &second].map(|network| connected(network, "swap"));
    for (number, swap) in swaps.iter_mut().enumerate() {
        assert_eq!((swap.size, swap.read_only), (64 << 20, false));
        // What mkswap writes at the end of the first page.
        assert_eq!(swap.read(4086, 10).expect("reading the swap area"), b"SWAPSPACE2");
        swap.write(1 << 20, &[number as u8 + 1; 4096]).expect("writing to the swap area");
    }
    for (number, swap) in swaps.iter_mut().enumerate() {
        assert_eq!(swap.read(1 << 20, 4096).expect("reading the swap area"), [number as u8 + 1; 4096]);
    }
}

// D23: a name that nbd-server would read as a pattern is skipped, and does no harm to the others.
#[test]
fn an_image_with_an_unsafe_name_keeps_the_others_served() {
    let world = World::new();
    let lan = world.add_network(ADMITTED);
    world.add_chroot("lab", &small_tree(&world, "lab"));
    fs::create_dir_all(world.path("/opt/ltsp/images")).expect("the images folder");
    for name in ["%n%n", "a]b", "[generic]", "line\nbreak"] {
        fs::write(world.path(format!("/opt/ltsp/images/{name}.img")), [0; 4096]).expect("an image");
    }
    let output = world.run("ltsp-update-image lab");
    assert!(String::from_utf8_lossy(&output.stderr).contains("%n%n"), "{}", texts(&output));
    wait_for("nbd-server", || served(&lan, "/opt/ltsp/lab"));
    connected(&lan, "/opt/ltsp/lab");
    for entry in fs::read_dir(world.path("/etc/nbd-server/conf.d")).expect("the exports' folder") {
        let name = entry.expect("an entry").file_name();
        assert!(["swap.conf", "ltsp_lab.conf"].iter().any(|known| name == *known), "{name:?} was written");
    }
}

// What is run outside of the program's private mounts is not run outside of a chroot that the program is run in.
#[test]
fn a_run_in_a_chroot_writes_no_exports_outside() {
    let world = World::new();
    world.add_chroot("lab", &small_tree(&world, "lab"));
    fs::create_dir(world.path("/run/inner")).expect("a folder for the chroot");
    world.run("mount --rbind / /run/inner");
    world.run("mount -t tmpfs inner /run/inner/etc/nbd-server");
    world.run("chroot /run/inner ltsp-update-image lab");
    assert!(world.path("/run/inner/etc/nbd-server/conf.d/ltsp_lab.conf").exists());
    assert!(!world.path("/etc/nbd-server/conf.d/ltsp_lab.conf").exists());
}

/// A client on `network` that reads until it is told to stop, over one connection.
#[derive(Default)]
struct Reader {
    readings: AtomicU64,
    stop: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Reader {
    fn read_on(&self, network: &Network, export: &str, wanted: &[u8]) {
        let result = Connection::open(&network.server, export).and_then(|mut client| {
            while !self.stop.load(Ordering::Relaxed) {
                if contents_or_error(&mut client)? != wanted {
                    return Err(std::io::Error::other("other contents than before"));
                }
                self.readings.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        if let Err(error) = result {
            let readings = self.readings.load(Ordering::Relaxed);
            *self.failure.lock().expect("the reader's failure") =
                Some(format!("after {readings} readings: {error}"));
        }
    }

    /// Waits until the whole export was read once more, from start to end, by now.
    fn wait_for_a_whole_reading(&self) {
        let until = self.readings.load(Ordering::Relaxed) + 2;
        wait_for("the connected client", || {
            let failure = self.failure.lock().expect("the reader's failure");
            assert!(
                failure.is_none(),
                "the connected client failed {}",
                failure.as_deref().unwrap_or_default()
            );
            (self.readings.load(Ordering::Relaxed) >= until).then_some(())
        });
    }
}

struct StopOnDrop<'a>(&'a Reader);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// A tree of a few files, different for each name, with contents that do not compress.
fn small_tree(world: &World, name: &str) -> PathBuf {
    let tree = world.path("/run").join(format!("tree-{name}"));
    for folder in ["bin", "boot"] {
        fs::create_dir_all(tree.join(folder)).expect("a folder in the tree");
    }
    fs::copy("/bin/true", tree.join("bin/true")).expect("a program in the tree");
    fs::write(tree.join("name"), name).expect("a file in the tree");
    let mut random = fs::File::open("/dev/urandom").expect("random numbers").take(4 << 20);
    let mut file = fs::File::create(tree.join("random")).expect("a large file in the tree");
    std::io::copy(&mut random, &mut file).expect("filling the large file");
    PathBuf::from(format!("/run/tree-{name}"))
}

/// Something, if a client on `network` can open the export.
fn served(network: &Network, export: &str) -> Option<()> {
    network.on_client(|| Connection::open(&network.server, export)).ok().map(|_| ())
}

fn connected(network: &Network, export: &str) -> Connection {
    network
        .on_client(|| Connection::open(&network.server, export))
        .unwrap_or_else(|error| panic!("{export} is not served to {}: {error}", network.client))
}

fn contents(client: &mut Connection) -> Vec<u8> {
    contents_or_error(client).expect("reading the export")
}

fn contents_or_error(client: &mut Connection) -> std::io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    while (contents.len() as u64) < client.size {
        let offset = contents.len() as u64;
        let length = u32::try_from((client.size - offset).min(1 << 17)).expect("at most 128 KiB");
        contents.extend(client.read(offset, length)?);
    }
    Ok(contents)
}
