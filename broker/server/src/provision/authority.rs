//! The hospital's certificate authority: makes itself, and issues identities (SPIFFE X509-SVID).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hilum_core::PrincipalId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SanType,
};
use zeroize::Zeroizing;

/// Days that an authority is valid: ten years.
pub const AUTHORITY_DAYS: u64 = 3653;
/// Days that an identity is valid: a year and a month to renew it in.
pub const IDENTITY_DAYS: u64 = 397;
/// How far a peer's clock may be behind.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);

/// Why the authority cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The library refused.
    #[error("the certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A date does not fit.
    #[error("a certificate's validity must be between the years 1970 and 9999")]
    Validity,
}

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: SystemTime,
    /// The last moment.
    pub not_after: SystemTime,
}

impl Validity {
    /// From `now` on, less an hour for clocks that are behind.
    #[must_use]
    pub fn days(now: SystemTime, days: u64) -> Self {
        Self { not_before: now - CLOCK_SKEW, not_after: now + Duration::from_secs(days * 24 * 60 * 60) }
    }
}

/// What an identity is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// The broker: answers at localhost, 127.0.0.1 and ::1, and at the names given.
    Server,
    /// A principal: connects, and may be encrypted to.
    Client,
}

/// An identity to be issued.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who it names.
    pub id: &'a PrincipalId,
    /// What it is for.
    pub usage: Usage,
    /// When.
    pub validity: Validity,
}

/// A certificate with its private key.
pub struct Issued {
    /// PEM.
    pub certificate_pem: String,
    /// PKCS #8, PEM.
    pub key_pem: Zeroizing<String>,
}

/// A certificate authority with its private key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes the authority of a hospital (P-384, ECDSA with SHA-384), for one level of certificates below it.
    pub fn make(hospital: &str, validity: Validity) -> Result<Issued, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?;
        let mut params = params(hospital, "certificate authority", validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // SPIFFE X509-SVID, section 3.2: a signing certificate names the trust domain alone.
        params.subject_alt_names = vec![SanType::URI(format!("spiffe://{hospital}").try_into()?)];
        let certificate = params.self_signed(&key)?;
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem().into() })
    }

    /// Takes an authority that was made before.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key_pem)?;
        Ok(Self { issuer: Issuer::from_ca_cert_pem(certificate_pem, key)? })
    }

    /// Issues an identity with a fresh key (P-256, ECDSA with SHA-256).
    pub fn issue(&self, request: &Request<'_>) -> Result<Issued, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let id = request.id;
        let mut params = params(id.trust_domain(), id.path(), request.validity)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = vec![SanType::URI(id.as_str().try_into()?)];
        match request.usage {
            Usage::Server => {
                params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                params.subject_alt_names.push(SanType::DnsName("localhost".try_into()?));
                params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
                params.subject_alt_names.push(SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into()));
            }
            Usage::Client => {
                // Key agreement too: bodies are encrypted to the same key (RFC 9053, section 6.3).
                params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyAgreement];
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }
        }
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem().into() })
    }
}

fn params(organization: &str, name: &str, validity: Validity) -> Result<CertificateParams, AuthorityError> {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, organization);
    subject.push(DnType::CommonName, name);
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    (params.not_before, params.not_after) = (date(validity.not_before)?, date(validity.not_after)?);
    Ok(params)
}

fn date(time: SystemTime) -> Result<time::OffsetDateTime, AuthorityError> {
    let seconds = time.duration_since(UNIX_EPOCH).map_err(|_| AuthorityError::Validity)?.as_secs();
    let seconds = i64::try_from(seconds).map_err(|_| AuthorityError::Validity)?;
    time::OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| AuthorityError::Validity)
}
