//! Runs `Module:main()` of a `.beam` file on a machine without OTP's `init`: for work on the engines.
use swarmrt::machine::spawn::{SpawnOptions, Start, spawn};
use swarmrt::{Builder, Otp};

fn main() {
    let path = std::env::args().nth(1).expect("usage: bare FILE.beam");
    let mut builder = Builder::new(Otp::find(None).expect("OTP is installed"));
    builder.without_init = true;
    let vm = builder.boot().expect("boots");
    let bytes = std::fs::read(&path).expect("the file can be read");
    let prepared = vm.code.prepare(&bytes).unwrap_or_else(|error| panic!("{}", error.0)).0;
    vm.code.finish(&prepared).expect("nothing is loaded twice");
    let guard = swarmrt::machine::pin();
    let start = Start::Apply { module: prepared.name, function: swarmrt::term::Atom::new("main"), args: swarmrt::term::Term::NIL };
    spawn(vm, None, start, SpawnOptions::default());
    drop(guard);
    std::process::exit(vm.wait_for_halt());
}
