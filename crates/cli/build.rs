//! Has the linker export the functions that native libraries call.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for names in [
        "enif_*",
        "erl_drv_*",
        "driver_*",
        "erl_errno_id",
        "set_busy_port",
        "set_port_control_flags",
        "get_port_flags",
        "null_func",
    ] {
        println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic-symbol={names}");
    }
}
