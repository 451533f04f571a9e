//! `verify --certificate`, which writes the certificate of a proof, and `countersign certify`, which checks one.

use std::{fs, path::Path};

use countersign_models::prove::certificate::{self, Refusal};
use countersign_terminal::{
    BadInput, Exit,
    input::{self, Named},
    print_error, print_line,
};
use owo_colors::OwoColorize;

use crate::{advice, args::CertifyArgs, judge::Judged, wrap};

/// The longest certificate, in bytes.
const MOST: usize = 1 << 25;
const WHAT: &str = "a certificate that `countersign verify FLOW --certificate FILE` wrote";

/// Refuses, before anything is judged, a file that cannot become the certificate of the one flow that is named.
pub(crate) fn destination(flows: &[Named], file: &Path) -> Result<(), BadInput> {
    let [_] = flows else {
        let title = "--certificate is about one flow, and none or several were named";
        return Err(BadInput::plain(
            title,
            "as in `countersign verify atomic-commit --certificate proof.txt`",
        ));
    };
    advice::new_file(file)
}

/// Writes the certificate of what was proved.
pub(crate) fn write(judged: &Judged, file: &Path) -> Result<Exit, BadInput> {
    let shown = file.display();
    let written = judged.any_number.as_ref().and_then(|any| any.certificate.as_ref());
    let written = match written.map_or(Err("nothing was proved"), |one| one.as_ref().map_err(String::as_str))
    {
        Ok(written) => written,
        Err(why) => {
            print_error!("there is no certificate of {}: {why}; {shown} was not written", judged.name);
            return Ok(Exit::CutOff);
        }
    };
    fs::write(file, &written.text).map_err(|error| {
        BadInput::plain(
            &format!("{shown}: cannot be written: {error}"),
            "name another file: --certificate FILE",
        )
    })?;
    print_error!("{} {shown}; `countersign certify {shown}` checks it", "wrote".bold());
    if !written.left_out.is_empty() {
        let ids: Vec<&str> = written.left_out.iter().map(|one| one.id()).collect();
        print_error!("proved, and not in the certificate: {}", ids.join(", "));
    }
    Ok(Exit::Expected)
}

pub(crate) fn run(args: &CertifyArgs) -> Result<Exit, BadInput> {
    let name = args.certificate.display().to_string();
    let flow = args.flow.as_deref().map(input::flow).transpose()?;
    let text = input::text(&args.certificate, MOST, WHAT)?;
    match certificate::check(&text, flow.as_ref().map(|flow| flow.file.as_str())) {
        Ok(certified) => {
            let ids: Vec<&str> = certified.properties.iter().map(|one| one.id()).collect();
            match &flow {
                Some(flow) => print_line!("{name}: {} for the flow {}", "valid".green().bold(), flow.name),
                None => {
                    let is_hidden = |one: char| one.is_control() && !matches!(one, '\n' | '\t');
                    let shown = certified.flow_file.replace(is_hidden, "\u{fffd}");
                    print_line!("{name}: {} for this flow:\n\n{shown}", "valid".green().bold());
                }
            }
            print_line!("SHA-256 of the flow file: {}", certified.flow_sha256);
            let said = format!("proved for any number of callers, crashes and faults: {}", ids.join(", "));
            print_line!("{} ({} views)", wrap::wrap(&said, wrap::WIDTH, 2), certified.views);
            Ok(Exit::Expected)
        }
        Err(Refusal::Unsound { line, why }) => {
            print_error!("{name}:{line}: {}: {why}", "not valid".red().bold());
            Ok(Exit::Unexpected)
        }
        Err(refusal) => {
            let help = match &refusal {
                Refusal::Version(_) => {
                    "write it again with this version: `countersign verify FLOW --certificate FILE`"
                }
                Refusal::Flow { .. } => "the flow file was changed, or is not the one that was verified",
                Refusal::Malformed { .. } | Refusal::Unsound { .. } => WHAT,
            };
            Err(BadInput::plain(&format!("{name}: {refusal}"), help))
        }
    }
}
