//! Many connections at once leave nothing behind: `tests/soak/connections.erl`, for a short time
//! and with few of them. The long form is `script/soak-connections`.

mod common;

use std::process::Stdio;
use std::time::Duration;

#[test]
fn connections_leave_nothing_behind() {
    let folder = std::env::temp_dir().join(format!("swarmrt-connections-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    let source = common::root().join("tests/soak/connections.erl");
    let status =
        common::oracle("erlc").arg("-o").arg(&folder).arg(source).stdout(Stdio::null()).status();
    assert!(status.expect("erlc is installed").success());
    let program = folder.join("connections.beam");
    // The program takes no more connections than the limit of descriptors allows.
    let output = common::run_within(
        common::swarmrt_command().arg("run").arg(program).args(["10", "400"]),
        Duration::from_mins(3),
    );
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("nothing is left"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let _ = std::fs::remove_dir_all(folder);
}
