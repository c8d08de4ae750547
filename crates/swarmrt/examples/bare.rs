//! Runs `Module:main()` of a `.beam` file on a machine without OTP's `init`: for work on the
//! engines.
use swarmrt::{Builder, Otp};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: bare FILE.beam")?;
    let mut builder = Builder::new(Otp::find(None)?);
    builder.without_init = true;
    let machine = builder.boot()?;
    let module = machine.load(&std::fs::read(&path)?)?;
    println!("{}", machine.call(&module, "main", ())?.wait()?);
    Ok(())
}
