//! Compiles what of the C interface takes a variable number of arguments.

fn main() {
    println!("cargo:rerun-if-changed=src/variadic.c");
    cc::Build::new().file("src/variadic.c").warnings(true).compile("swarmrt_nif_variadic");
}
