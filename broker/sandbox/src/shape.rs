//! How much there is to compile. A compilation cannot be stopped once it has begun, so that what it may take is bounded by what is given to
//! it: the number of modules and functions, and the octets of one function and of all.
//!
//! Decision 29 has what the worst that passes takes.

use wasmparser::{Parser, Payload};

/// Core modules and components inside of a component.
const MODULES_MAX: usize = 128;
/// Functions of a component.
const FUNCTIONS_MAX: usize = 100_000;
/// Octets of the code of one function: what the compiler holds at once, and where its time may grow faster than its input.
const FUNCTION_OCTETS_MAX: usize = 512 * 1024;
/// Octets of all code.
const CODE_OCTETS_MAX: usize = 48 << 20;

/// Says what there is too much of. What cannot be read is left to the compiler, which says where.
pub(crate) fn check(component: &[u8]) -> Result<(), String> {
    let (mut modules, mut functions, mut code) = (0, 0, 0);
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => modules += 1,
            Ok(Payload::CodeSectionEntry(body)) => {
                let octets = body.range().len();
                (functions, code) = (functions + 1, code + octets);
                within(octets, FUNCTION_OCTETS_MAX, "octets of code in one function")?;
            }
            Ok(_) => {}
            Err(_) => break,
        }
        within(modules, MODULES_MAX, "modules and components inside of it")?;
        within(functions, FUNCTIONS_MAX, "functions")?;
        within(code, CODE_OCTETS_MAX, "octets of code")?;
    }
    Ok(())
}

fn within(count: usize, max: usize, what: &str) -> Result<(), String> {
    if count <= max { Ok(()) } else { Err(format!("it has more than {max} {what}")) }
}
