//! Names of hosts, by the system's resolver: what OTP has the program `inet_gethost` for. It is
//! part of the machine, so that no program has to be found and started for the first name.
//!
//! A request is a serial number, an operation, a protocol, and a name or an address; the answer has
//! the serial number in front. The resolver blocks, so it runs on threads of its own.

use parking_lot::Mutex;
use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use swarmrt_io::port::Port;
use swarmrt_io::port::driver::{Driver, Request, Written};
use swarmrt_machine::Vm;

const BY_NAME: u8 = 1;
const BY_ADDRESS: u8 = 2;
const CANCEL: u8 = 3;
const IPV4: u8 = 1;
const IPV6: u8 = 2;
/// Threads that ask the resolver; as many as OTP's program has helpers.
const THREADS: usize = 4;

struct Question {
    serial: u32,
    by: u8,
    protocol: u8,
    what: Vec<u8>,
}

/// The driver `inet_gethost`.
#[derive(Default)]
pub struct GetHost {
    questions: Mutex<Option<Sender<Question>>>,
    cancelled: Arc<Mutex<HashSet<u32>>>,
}

/// A driver for a new port; its threads start with the first question.
pub fn driver(_vm: &'static Vm) -> Arc<dyn Driver> {
    Arc::new(GetHost::default())
}

impl GetHost {
    /// Starts the threads with the first question.
    fn ask(&self, request: &Request<'_>, question: Question) -> std::io::Result<()> {
        let mut questions = self.questions.lock();
        if questions.is_none() {
            let (sender, receiver) = channel();
            let receiver = Arc::new(Mutex::new(receiver));
            for _ in 0..THREADS {
                let (receiver, cancelled, port, vm) =
                    (receiver.clone(), self.cancelled.clone(), request.port.clone(), request.vm);
                vm.start_thread("resolver", move || answer_all(vm, &port, &receiver, &cancelled))?;
            }
            *questions = Some(sender);
        }
        if let Some(sender) = &*questions {
            // The threads are there for as long as the port is.
            let _ = sender.send(question);
        }
        Ok(())
    }
}

impl Driver for GetHost {
    fn output(&self, request: &Request<'_>, bytes: Vec<u8>) -> Written {
        let Some((serial, [operation, rest @ ..])) = bytes.split_first_chunk::<4>() else {
            return Written::Refused;
        };
        let serial = u32::from_be_bytes(*serial);
        match (*operation, rest) {
            (by @ (BY_NAME | BY_ADDRESS), [protocol, what @ ..]) => {
                let question = Question { serial, by, protocol: *protocol, what: what.to_vec() };
                if self.ask(request, question).is_err() {
                    request.port.data_arrived(request.vm, &failure(serial, "try_again"), None);
                }
            }
            (CANCEL, _) => {
                self.cancelled.lock().insert(serial);
            }
            // How much the program is to say: it says nothing.
            _ => {}
        }
        Written::Done
    }

    fn close(&self, _vm: &'static Vm, _port: &Port) {
        // The threads end when nobody can ask any more.
        self.questions.lock().take();
    }
}

fn answer_all(
    vm: &'static Vm,
    port: &Port,
    questions: &Mutex<Receiver<Question>>,
    cancelled: &Mutex<HashSet<u32>>,
) {
    loop {
        let Ok(question) = questions.lock().recv() else { return };
        let answer =
            if cancelled.lock().remove(&question.serial) { None } else { Some(answer(&question)) };
        if let Some(answer) = answer.filter(|_| !cancelled.lock().remove(&question.serial)) {
            port.data_arrived(vm, &answer, None);
        }
    }
}

fn failure(serial: u32, name: &str) -> Vec<u8> {
    [&serial.to_be_bytes()[..], &[0], name.as_bytes(), &[0]].concat()
}

fn answer(question: &Question) -> Vec<u8> {
    let found = match question.by {
        BY_NAME => by_name(question.protocol, &question.what),
        _ => by_address(question.protocol, &question.what),
    };
    match found {
        Ok((addresses, names)) => {
            let size: u8 = if question.protocol == IPV4 { 4 } else { 16 };
            let mut answer = question.serial.to_be_bytes().to_vec();
            answer.push(size);
            answer.extend((addresses.len() as u32).to_be_bytes());
            for address in addresses {
                match address {
                    IpAddr::V4(v4) => answer.extend(v4.octets()),
                    IpAddr::V6(v6) => answer.extend(v6.octets()),
                }
            }
            answer.extend((names.len() as u32).to_be_bytes());
            for name in names {
                answer.extend(name.as_bytes_with_nul());
            }
            answer
        }
        Err(problem) => failure(question.serial, problem),
    }
}

type Found = Result<(Vec<IpAddr>, Vec<CString>), &'static str>;

/// The resolver's errors, as OTP names them.
fn problem_name(problem: i32) -> &'static str {
    match problem {
        libc::EAI_AGAIN | libc::EAI_MEMORY => "try_again",
        libc::EAI_FAIL => "no_recovery",
        _ => "notfound",
    }
}

fn by_name(protocol: u8, name: &[u8]) -> Found {
    let name = CStr::from_bytes_until_nul(name).map_err(|_| "notfound")?;
    // The resolver would take the IPv4 address out of one that has it inside.
    let is_ipv6 = |name: &CStr| name.to_str().is_ok_and(|name| name.parse::<Ipv6Addr>().is_ok());
    if protocol != IPV6 && is_ipv6(name) {
        return Err("notfound");
    }
    // SAFETY: all zeroes are hints that ask for nothing.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_family = if protocol == IPV6 { libc::AF_INET6 } else { libc::AF_INET };
    hints.ai_flags = libc::AI_CANONNAME;
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut list = std::ptr::null_mut();
    // SAFETY: the name is a string, and the list is given back below.
    let problem = unsafe {
        libc::getaddrinfo(name.as_ptr(), std::ptr::null(), &raw const hints, &raw mut list)
    };
    if problem != 0 {
        return Err(problem_name(problem));
    }
    let (mut addresses, mut names) = (Vec::new(), Vec::new());
    let mut next = list;
    // SAFETY: the entries live until the list is given back; addresses are as long as their
    // families say.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ai_next;
        if !entry.ai_canonname.is_null() {
            // SAFETY: a name is a string.
            names.push(unsafe { CStr::from_ptr(entry.ai_canonname) }.to_owned());
        }
        // SAFETY: an address is as long as its family says.
        unsafe {
            match entry.ai_family {
                libc::AF_INET => addresses.push(IpAddr::from(
                    (*entry.ai_addr.cast::<libc::sockaddr_in>()).sin_addr.s_addr.to_ne_bytes(),
                )),
                libc::AF_INET6 => addresses.push(IpAddr::from(
                    (*entry.ai_addr.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr,
                )),
                _ => {}
            }
        }
    }
    // SAFETY: it came from `getaddrinfo`, and no entry is used any more.
    unsafe { libc::freeaddrinfo(list) };
    if names.is_empty() {
        names.push(name.to_owned());
    }
    Ok((addresses, names))
}

fn by_address(protocol: u8, address: &[u8]) -> Found {
    let address = match protocol {
        IPV4 => <[u8; 4]>::try_from(address).map(IpAddr::from),
        _ => <[u8; 16]>::try_from(address).map(IpAddr::from),
    };
    let address = address.map_err(|_| "notfound")?;
    let socket = socket2::SockAddr::from(SocketAddr::new(address, 0));
    let mut name = [0u8; 1025];
    // SAFETY: the address is as long as it says, and at most so many bytes are written.
    let problem = unsafe {
        libc::getnameinfo(
            socket.as_ptr().cast(),
            socket.len(),
            name.as_mut_ptr().cast(),
            name.len() as libc::socklen_t,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    if problem != 0 {
        return Err(problem_name(problem));
    }
    let name = CStr::from_bytes_until_nul(&name).map_err(|_| "notfound")?;
    Ok((vec![address], vec![name.to_owned()]))
}
