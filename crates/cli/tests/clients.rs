//! Programs that everybody has against OTP's servers on SwarmRT, and the other way: openssl, curl,
//! OpenSSH (`tests/clients/clients.erl`).

mod common;

use std::process::Stdio;
use std::time::Duration;

const EXPECTED: &str = r#"openssl tls1_2: "HELLO over tlsv1.2"
openssl tls1_3: "HELLO over tlsv1.3"
s_server tls1_2: {'tlsv1.2',"olleh\n"}
s_server tls1_3: {'tlsv1.3',"olleh\n"}
curl http: "200 1.1 320000" "404 1 206" "206 1.1 5"
curl https: "200 1.1 320000" "404 1 206" "206 1.1 5"
ssh: "did work"
sftp: "moved"
got: true
"#;

#[test]
fn clients_and_servers_understand_each_other() {
    // Of releases that `script/otp` installs, the library of crypto needs a newer C library than
    // this machine's.
    if common::release().is_some() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("swarmrt-clients-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    let source = common::root().join("tests/clients/clients.erl");
    let status =
        common::oracle("erlc").arg("-o").arg(&folder).arg(source).stdout(Stdio::null()).status();
    assert!(status.expect("erlc is installed").success());
    let mut command = common::swarmrt_command();
    command.arg("run").arg(folder.join("clients.beam")).arg(&folder);
    let output = common::run_within(&mut command, Duration::from_mins(2));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, EXPECTED, "{}", String::from_utf8_lossy(&output.stderr));
    let _ = std::fs::remove_dir_all(folder);
}
