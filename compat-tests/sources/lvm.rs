//! Physical volumes of LVM, which its own tools only make where the kernel has a device mapper.

/// The first MiB of a physical volume with these logical volumes: each the name, and its pieces as start in the
/// physical volume, behind that MiB, and length, both in MiB.
pub fn physical_volume(volumes: &[(&str, &[(u32, u32)])]) -> Vec<u8> {
    let mut logical = String::new();
    for (name, pieces) in volumes {
        logical += &format!("{name} {{\nstatus = [\"READ\", \"VISIBLE\"]\n");
        let mut first = 0;
        for (number, (at, count)) in (1..).zip(*pieces) {
            logical += &format!(
                "segment{number} {{\nstart_extent = {first}\nextent_count = {count}\ntype = \"striped\"\n\
                 stripe_count = 1\nstripes = [\n\"pv0\", {at}\n]\n}}\n"
            );
            first += count;
        }
        logical += "}\n";
    }
    let text = format!(
        "my-vg {{\nextent_size = 2048\nphysical_volumes {{\npv0 {{\nid = \"zXl2lG-cVfl-etuQ-jVjN-VGRr-0Dn2-m3v2hJ\"\n\
         pe_start = 2048\n}}\n}}\nlogical_volumes {{\n{logical}}}\n}}\n"
    );
    let mut bytes = vec![0; 1 << 20];
    let mut set = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    set(512, b"LABELONE");
    set(532, &[32]);
    set(536, b"LVM2 001zXl2lGcVfletuQjVjNVGRr0Dn2m3v2hJ");
    set(512 + 72, &(1u64 << 20).to_le_bytes());
    set(512 + 104, &4096u64.to_le_bytes());
    set(512 + 112, &((1u64 << 20) - 4096).to_le_bytes());
    set(4100, b" LVM2 x[5A%r0N*>");
    set(4136, &512u64.to_le_bytes());
    set(4144, &u64::try_from(text.len()).unwrap().to_le_bytes());
    set(4608, text.as_bytes());
    bytes
}
