//! Has the linker export the functions that native libraries call.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for names in ["enif_*", "erl_errno_id"] {
        println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic-symbol={names}");
    }
}
