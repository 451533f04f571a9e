//! `countersign schema`: the JSON Schema of a flow file.

use countersign::flow_file;
use countersign_models::properties::Property;
use countersign_terminal::{BadInput, Exit, print_data};

pub(crate) fn run() -> Result<Exit, BadInput> {
    print_data!("{:#}", flow_file::schema(Property::IDS));
    Ok(Exit::Expected)
}
