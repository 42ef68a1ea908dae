//! The billing side: says of each claim which procedures it is for, by MACs, codes and days.

use hilum_formats::x12::Document;
use hilum_plugin::{ConfigError, Message, emit};

use crate::claim::{Claim, Reader};
use crate::clinical::is_old;
use crate::crosswalk::Crosswalk;
use crate::day::{hide, year_of};
use crate::notice::{Claimed, Line, Notice};
use crate::settings;
use crate::{DAY_MS, Tally, X12_CONTENT_TYPE, mac};

/// Octets of one interchange.
const BODY_OCTETS_MAX: usize = 16 << 20;

/// The stage.
#[derive(Debug)]
pub struct Billing {
    settings: settings::Claimed,
    crosswalk: Crosswalk,
}

impl Billing {
    pub(crate) fn new(settings: settings::Claimed) -> Result<Self, ConfigError> {
        if settings.notices_flow.is_empty() || settings.key.is_empty() {
            return Err(ConfigError::new("/notices_flow", "name the flow of notices and the key"));
        }
        mac::granted(&settings.key)?;
        let crosswalk = Crosswalk::parse(&settings.crosswalk);
        let crosswalk = crosswalk.map_err(|reason| ConfigError::new("/crosswalk", reason))?;
        Ok(Self { settings, crosswalk })
    }

    pub(crate) fn observe(&self, messages: Vec<Message>, tally: &mut Tally) {
        for Message { head, body } in messages {
            if !head.is(X12_CONTENT_TYPE) {
                continue;
            }
            let octets = body.into_octets(BODY_OCTETS_MAX).map_err(|error| error.to_string());
            let told = octets.and_then(|octets| {
                let Ok(document) = Document::parse(&octets) else {
                    tally.malformed += 1;
                    return Err("no X12 interchange".to_owned());
                };
                let mut reader = Reader::new(&self.settings, &self.crosswalk);
                reader.read(&document);
                tally.incomplete += reader.incomplete;
                self.tell(&reader.claims, head.time / DAY_MS, tally)
            });
            if let Err(error) = told {
                tally.trouble = Some(format!("claims were not noticed: {error}"));
            }
        }
    }

    fn tell(&self, claims: &[Claim], came: u64, tally: &mut Tally) -> Result<(), String> {
        let numbers = claims.iter().flat_map(|claim| {
            let lines = claim.lines.iter().flat_map(|line| {
                let pad = line.accession.as_deref().map(mac::pad);
                [line.accession.clone(), line.visit.clone(), pad]
            });
            std::iter::once(claim.number.clone()).chain(lines)
        });
        let numbers: Vec<Option<Vec<u8>>> = numbers.collect();
        let mut macs = mac::all(&self.settings.key, &numbers).map_err(|error| error.to_string())?.into_iter();
        for claim in claims {
            let number = macs.next().flatten();
            let lines: Vec<Line> = claim
                .lines
                .iter()
                .map(|line| {
                    let [accession, visit, pad] = [(); 3].map(|()| macs.next().flatten());
                    Line {
                        accession,
                        visit,
                        code: line.code.clone(),
                        component: line.component,
                        fits: line.fits.clone(),
                        year: year_of(line.day),
                        hidden_day: pad.as_deref().and_then(|pad| hide(line.day, pad)),
                        old: is_old(line.day, came, self.settings.old_days),
                    }
                })
                .collect();
            let Some(number) = number else {
                tally.incomplete += 1;
                continue;
            };
            tally.claimed += lines.len() as u64;
            let notice = Notice::Claimed(Claimed {
                claim: number,
                frequency: claim.frequency,
                lines,
                at: claim.at.clone(),
            });
            emit::emit(&self.settings.notices_flow, notice.draft()).map_err(|error| {
                tally.unkept += 1;
                error.to_string()
            })?;
        }
        Ok(())
    }
}
