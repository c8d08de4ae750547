//! Compiles what of the C interface takes a variable number of arguments, and what goes by two
//! names.

fn main() {
    let files = ["src/variadic.c", "src/drivers/names.c"];
    files.iter().for_each(|file| println!("cargo:rerun-if-changed={file}"));
    cc::Build::new().files(files).warnings(true).compile("swarmrt_nif_c");
}
