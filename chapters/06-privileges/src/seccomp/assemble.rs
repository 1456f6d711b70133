//! From the decision table to BPF.
//!
//! The program that comes out:
//!
//! ```text
//!     ld   [arch]
//!     jeq  #AUDIT_ARCH_X86_64, next, else: the next architecture ... at last: ret KILL_PROCESS
//!     ld   [nr]
//!     jge  #middle ─── yes ──► the same for the upper half
//!       │ no
//!       ▼ the same for the lower half ... down to one leaf per run of numbers with the same answer
//! ```
//!
//! Filters that list calls one comparison after another cost a busy program some 300 instructions a call. A binary
//! search needs about 7, and neighbours with the same answer share a leaf.

use super::arch::X32_BIT;
use super::bpf::{self, Instruction, Program};
use super::profile::{Argument, Comparison};
use super::table::{Answer, Branch, Table};
use super::{Arch, FilterFlags};
use crate::Error;

/// A run of call numbers, from `first` up to the next leaf, and the code that answers them.
struct Leaf {
    first: u32,
    code: Vec<Instruction>,
}

/// Assembles a filter.
pub(super) fn program(table: &Table, flags: FilterFlags) -> Result<Program, Error> {
    let mut instructions = vec![Instruction::plain(bpf::LOAD, bpf::ARCHITECTURE)];
    for &arch in table.calls.keys() {
        // x32 comes through the same door: it is a part of x86_64's range of numbers.
        if arch == Arch::X32 {
            continue;
        }
        let section = search(&leaves(table, arch));
        // A comparison jumps at most 255 instructions; only the unconditional jump has 32 bits.
        instructions.push(Instruction::branch(bpf::EQUAL, arch.audit(), 1, 0));
        instructions.push(Instruction::plain(bpf::JUMP, 1 + section.len() as u32));
        instructions.push(Instruction::plain(bpf::LOAD, bpf::NUMBER));
        instructions.extend(section);
    }
    instructions.push(answer(Answer::KILL_PROCESS));
    if instructions.len() > Program::LONGEST {
        let reason = format!("{} instructions, the kernel takes {}", instructions.len(), Program::LONGEST);
        return Err(Error::Profile { place: "syscalls".to_owned(), reason });
    }
    Ok(Program { instructions, flags })
}

/// The whole range of an architecture's numbers as leaves, neighbours with the same code merged.
fn leaves(table: &Table, arch: Arch) -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut push = |first: u32, code: &[Instruction]| match leaves.last() {
        Some(last) if last.code == code => {}
        _ => leaves.push(Leaf { first, code: code.to_vec() }),
    };
    let unlisted = [answer(table.default)];
    let x32 = table.calls.get(&Arch::X32).filter(|_| arch == Arch::X86_64);
    let calls = table.calls.get(&arch).into_iter().chain(x32);
    // The first number that nothing is known about yet, and the code of the one in hand.
    let (mut next, mut code) = (0, Vec::new());
    for call in calls.flat_map(|calls| calls.chunk_by(|one, other| one.0 == other.0)) {
        let number = call[0].0;
        if next < number {
            push(next, &unlisted);
        }
        code.clear();
        rules(table, call, &mut code);
        push(number, &code);
        next = number + 1;
    }
    push(next, &unlisted);
    if x32.is_none() {
        push(X32_BIT, &[answer(Answer::NO_SUCH_CALL)]);
    }
    leaves
}

/// A binary search over leaves that are sorted by their first number. The accumulator holds the call's number.
// hole: seccomp-search
fn search(leaves: &[Leaf]) -> Vec<Instruction> {
    if let [leaf] = leaves {
        return leaf.code.clone();
    }
    let (lower, upper) = leaves.split_at(leaves.len() / 2);
    let boundary = upper[0].first;
    let (lower, upper) = (search(lower), search(upper));
    let mut code = Vec::with_capacity(2 + lower.len() + upper.len());
    match u8::try_from(lower.len()) {
        Ok(distance) => code.push(Instruction::branch(bpf::AT_LEAST, boundary, distance, 0)),
        // A comparison jumps at most 255 instructions; only the unconditional jump has 32 bits.
        Err(_) => code.extend([
            Instruction::branch(bpf::AT_LEAST, boundary, 0, 1),
            Instruction::plain(bpf::JUMP, lower.len() as u32),
        ]),
    }
    code.extend(lower);
    code.extend(upper);
    code
}

/// The code for one call: each branch in turn, then the default.
fn rules(table: &Table, call: &[(u32, usize)], code: &mut Vec<Instruction>) {
    let mut falls_through = true;
    for branch in call.iter().map(|(_, branch)| &table.branches[*branch]) {
        falls_through = !branch.conditions.is_empty();
        if falls_through {
            code.extend(rule(branch));
        } else {
            // Nearly all calls: allowed, whatever they are asked to do.
            code.push(answer(branch.answer));
        }
    }
    if falls_through {
        code.push(answer(table.default));
    }
}

/// Where a comparison leads.
#[derive(Clone, Copy)]
enum To {
    /// The next line.
    Next,
    /// The end of this condition: it holds.
    Holds,
    /// The end of the branch: it does not.
    Fails,
}

/// One line of a condition, jumps still by name.
#[derive(Clone, Copy)]
enum Line {
    Plain(u16, u32),
    Test(u16, u32, To, To),
}

/// One branch: its conditions, then its answer. A condition that fails jumps behind the answer.
fn rule(branch: &Branch) -> Vec<Instruction> {
    let conditions: Vec<Vec<Line>> = branch.conditions.iter().map(condition).collect();
    let length: usize = conditions.iter().map(Vec::len).sum::<usize>() + 1;
    let mut code = Vec::with_capacity(length);
    for lines in &conditions {
        let end = code.len() + lines.len();
        for line in lines {
            let here = code.len() + 1;
            // Six conditions of at most six lines each: every distance fits in a byte.
            let distance = |to: To| match to {
                To::Next => 0,
                To::Holds => (end - here) as u8,
                To::Fails => (length - here) as u8,
            };
            code.push(match *line {
                Line::Plain(operation, k) => Instruction::plain(operation, k),
                Line::Test(operation, k, yes, no) => Instruction::branch(operation, k, distance(yes), distance(no)),
            });
        }
    }
    code.push(answer(branch.answer));
    code
}

/// A comparison of a 64-bit argument, made of 32-bit ones: the high word first.
// hole: seccomp-compare
fn condition(argument: &Argument) -> Vec<Line> {
    use Line::{Plain, Test};
    use To::{Fails, Holds, Next};
    let (high_at, low_at) = bpf::argument(argument.index as u8);
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    let (high, low) = halves(argument.value);
    let equal = |high, low| {
        vec![
            Plain(bpf::LOAD, high_at),
            Test(bpf::EQUAL, high, Next, Fails),
            Plain(bpf::LOAD, low_at),
            Test(bpf::EQUAL, low, Holds, Fails),
        ]
    };
    let above = |last: u16| {
        vec![
            Plain(bpf::LOAD, high_at),
            Test(bpf::GREATER, high, Holds, Next),
            Test(bpf::EQUAL, high, Next, Fails),
            Plain(bpf::LOAD, low_at),
            Test(last, low, Holds, Fails),
        ]
    };
    match argument.op {
        Comparison::Equal => equal(high, low),
        Comparison::NotEqual => negated(equal(high, low)),
        Comparison::Greater => above(bpf::GREATER),
        Comparison::GreaterOrEqual => above(bpf::AT_LEAST),
        Comparison::LessOrEqual => negated(above(bpf::GREATER)),
        Comparison::Less => negated(above(bpf::AT_LEAST)),
        Comparison::MaskedEqual => {
            let (wanted_high, wanted_low) = halves(argument.value_two);
            let mut lines = equal(wanted_high, wanted_low);
            lines.insert(3, Plain(bpf::AND, low));
            lines.insert(1, Plain(bpf::AND, high));
            lines
        }
    }
}

/// The opposite condition: the same lines, the two outcomes exchanged.
fn negated(lines: Vec<Line>) -> Vec<Line> {
    let swap = |to: To| match to {
        To::Next => To::Next,
        To::Holds => To::Fails,
        To::Fails => To::Holds,
    };
    let turn = |line: Line| match line {
        Line::Test(operation, k, yes, no) => Line::Test(operation, k, swap(yes), swap(no)),
        plain @ Line::Plain(..) => plain,
    };
    lines.into_iter().map(turn).collect()
}

fn answer(answer: Answer) -> Instruction {
    Instruction::plain(bpf::RETURN, answer.0)
}
