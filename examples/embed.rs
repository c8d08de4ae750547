//! A program in Rust with a machine inside: it calls Erlang, and Erlang calls it.
//!
//! `cargo run --release -p swarmrt --example embed`

use serde::{Deserialize, Serialize};
use std::error::Error;
use swarmrt::{Atom, Builder, CallError, HostModule, Otp};

#[derive(Serialize, Deserialize, Debug)]
struct Order {
    item: String,
    count: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    // What Erlang may call: shop:price/1 and shop:log/1.
    let shop = HostModule::new("shop")
        .function("price", 1, |(order,): (Order,)| Ok(order.count * 3))
        .function("log", 1, |(line,): (String,)| {
            println!("log: {line}");
            Ok(())
        });
    let machine = Builder::embedded(Otp::find(None)?).host_module(shop).boot()?;

    // Values go both ways by serde.
    let sorted: Vec<i64> = machine.call("lists", "sort", (vec![3, 1, 2],))?.wait()?.decode()?;
    println!("lists:sort -> {sorted:?}");

    // An Erlang function calls one of ours for each order.
    let orders =
        vec![Order { item: "tea".into(), count: 2 }, Order { item: "salt".into(), count: 1 }];
    for order in &orders {
        let price: u32 = machine
            .call("erlang", "apply", (Atom::from("shop"), Atom::from("price"), vec![order]))?
            .wait()?
            .decode()?;
        println!("{} x {} -> {price}", order.count, order.item);
    }

    // What a function raises is an error here.
    if let Err(CallError::Raised { class, reason, trace }) =
        machine.call("erlang", "hd", (Vec::<u8>::new(),))?.wait()
    {
        println!("{class}:{reason} at {trace}");
    }
    std::process::exit(machine.stop())
}
