//! How many schedulers there are, and how many of them are online: as on `erl`.

mod common;

const CODE: &str = "io:format(\"~p~n\", [[erlang:system_info(I) || I <- [schedulers, schedulers_online, dirty_cpu_schedulers]]]), halt().";

#[test]
fn flags_give_the_numbers_that_they_give_on_erl() {
    let all =
        ["", "+S 1", "+S 4", "+S 4:3", "+S :1", "+S 0", "+S4:0", "+SP 50", "+SP 300:50", "+SP :1"];
    common::side_by_side(&all, common::machines_at_once() / 2, |flags| {
        let arguments: Vec<&str> =
            flags.split_whitespace().chain(["-noshell", "-eval", CODE]).collect();
        let ours = common::run(common::swarmrt_command().arg("erl").args(&arguments));
        let theirs = common::run(common::oracle("erl").args(&arguments));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(theirs.status.success(), "{flags}: {}", text(&theirs.stderr));
        assert_eq!(text(&ours.stdout), text(&theirs.stdout), "{flags}: {}", text(&ours.stderr));
    });
}

#[test]
fn more_schedulers_online_than_there_are_is_refused() {
    for flags in ["+S 1:2", "+S 1:0", "+S 2000", "+SP 1:800"] {
        let output = common::run(
            common::swarmrt_command()
                .arg("erl")
                .args(flags.split(' '))
                .args(["-noshell", "-eval", CODE]),
        );
        let said = String::from_utf8_lossy(&output.stderr);
        // One processor cannot tell `+S 1:0` from `+S 1`.
        let is_one = std::thread::available_parallelism().is_ok_and(|count| count.get() == 1)
            && flags == "+S 1:0";
        assert!(
            is_one || output.status.code() == Some(2) && said.contains(&flags[..2]),
            "{flags}: {said}"
        );
    }
}
