//! JSON, read as it streams by: no tree of the whole is built, and what nobody needs is skipped.
//!
//! Whatever stands in a place is taken: text for numbers, numbers for text, one element for a list, `null` for anything.
//! Only what is no JSON is an error.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::NotEureka;
use super::draft::{Draft, DraftApplications, DraftLease, DraftPort, Text};
use crate::registry::eureka::instance::Applications;

/// Reads an answer in JSON.
pub(super) fn decode(body: &[u8]) -> Result<Applications, NotEureka> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut root = Root::default();
    match Into(&mut root).deserialize(&mut json).and_then(|()| json.end()) {
        Ok(()) => match root.0 {
            Some(applications) => applications.finish(),
            None => Err(NotEureka("JSON without `applications`".into())),
        },
        Err(e) if e.is_eof() => Err(NotEureka(format!("JSON that breaks off: {e}"))),
        Err(e) => Err(NotEureka(format!("no JSON: {e}"))),
    }
}

/// What a JSON value of any kind means to `Self`.
trait Take {
    /// A string, a number or a boolean.
    fn scalar(&mut self, _: &str) {}

    /// One field of an object; its value must be consumed.
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;

    /// One element of a list; `false` at its end.
    fn element<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        Ok(list.next_element::<IgnoredAny>()?.is_some())
    }
}

/// Reads any value into the target.
struct Into<'a, T>(&'a mut T);

impl<'de, T: Take> DeserializeSeed<'de> for Into<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Take> Visitor<'de> for Into<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<(), E> {
        self.visit_str(if v { "true" } else { "false" })
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<(), E> {
        self.visit_str(&v.to_string())
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<(), E> {
        self.visit_str(&v.to_string())
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<(), E> {
        self.visit_str(&v.to_string())
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<(), E> {
        self.0.scalar(v);
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while self.0.element(&mut list)? {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            self.0.field(&key, &mut map)?;
        }
        Ok(())
    }
}

/// The name of a field, borrowed where it stands there as it is.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, v: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(v)))
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(v.to_owned())))
    }
}

fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(|_| ())
}

#[derive(Default)]
struct Root(Option<DraftApplications>);

impl Take for Root {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        if key != "applications" {
            return skip(map);
        }
        map.next_value_seed(Into(self.0.get_or_insert_default()))
    }
}

impl Take for DraftApplications {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "apps__hashcode" => map.next_value_seed(Into(&mut self.hash)),
            "application" => {
                let mut list = ApplicationList { into: self, single: DraftApplication::default() };
                map.next_value_seed(Into(&mut list))?;
                list.single.finish(list.into);
                Ok(())
            }
            _ => skip(map),
        }
    }
}

/// A list of applications, or the one that there is. Each is finished as soon as it has been read.
struct ApplicationList<'a> {
    into: &'a mut DraftApplications,
    single: DraftApplication,
}

impl Take for ApplicationList<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        self.single.field(key, map)
    }

    fn element<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        let mut application = DraftApplication::default();
        let more = list.next_element_seed(Into(&mut application))?.is_some();
        application.finish(self.into);
        Ok(more)
    }
}

#[derive(Default)]
struct DraftApplication {
    name: Text,
    instances: InstanceList,
}

impl DraftApplication {
    fn finish(self, into: &mut DraftApplications) {
        into.application(self.name.as_deref(), self.instances.0);
    }
}

impl Take for DraftApplication {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "name" => map.next_value_seed(Into(&mut self.name)),
            "instance" => map.next_value_seed(Into(&mut self.instances)),
            _ => skip(map),
        }
    }
}

/// A list of instances, or the one that there is.
#[derive(Default)]
struct InstanceList(Vec<Draft>);

impl Take for InstanceList {
    fn scalar(&mut self, _: &str) {
        self.0.push(Draft::default());
    }

    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        if self.0.is_empty() {
            self.0.push(Draft::default());
        }
        match self.0.last_mut() {
            Some(draft) => draft.field(key, map),
            None => skip(map),
        }
    }

    fn element<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        let mut draft = Draft::default();
        let more = list.next_element_seed(Into(&mut draft))?.is_some();
        if more {
            self.0.push(draft);
        }
        Ok(more)
    }
}

impl Take for Draft {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "port" => map.next_value_seed(Into(&mut self.port)),
            "securePort" => map.next_value_seed(Into(&mut self.secure_port)),
            "leaseInfo" => map.next_value_seed(Into(&mut self.lease)),
            "metadata" => map.next_value_seed(Into(&mut Pairs(&mut self.metadata))),
            "dataCenterInfo" => map.next_value_seed(Into(&mut DataCenter(&mut self.cloud))),
            _ => match self.text(key) {
                Some(text) => map.next_value_seed(Into(text)),
                None => skip(map),
            },
        }
    }
}

impl Take for Text {
    fn scalar(&mut self, text: &str) {
        *self = Some(text.to_owned());
    }

    fn field<'de, A: MapAccess<'de>>(&mut self, _: &str, map: &mut A) -> Result<(), A::Error> {
        skip(map)
    }
}

impl Take for DraftPort {
    fn scalar(&mut self, text: &str) {
        self.number = Some(text.to_owned());
    }

    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "$" => map.next_value_seed(Into(&mut self.number)),
            "@enabled" | "enabled" => map.next_value_seed(Into(&mut self.enabled)),
            _ => skip(map),
        }
    }
}

impl Take for DraftLease {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match self.text(key) {
            Some(text) => map.next_value_seed(Into(text)),
            None => skip(map),
        }
    }
}

/// Names and values; a value that is no text says nothing.
struct Pairs<'a>(&'a mut Vec<(String, String)>);

impl Take for Pairs<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let (key, mut value) = (key.to_owned(), Text::None);
        map.next_value_seed(Into(&mut value))?;
        self.0.extend(value.map(|value| (key, value)));
        Ok(())
    }
}

/// Of what a cloud says, only the metadata.
struct DataCenter<'a>(&'a mut Vec<(String, String)>);

impl Take for DataCenter<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "metadata" => map.next_value_seed(Into(&mut Pairs(&mut *self.0))),
            _ => skip(map),
        }
    }
}
