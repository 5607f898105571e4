//! Pages that are found by the host they are asked at.

use super::BRANDER;
use crate::contract::Http;
use crate::hook::Hook;

/// Where people sign in, in the look of the host's tenant.
#[derive(Debug)]
pub struct LoginPage;

impl Hook for LoginPage {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "login_page";
    const HTTP: Http = Http::get("/login");
    const HEADERS: &'static [&'static str] = &["if-none-match"];
    const MAX_BODY: usize = 0;
    const SUMMARY: &'static str = "The login page of the host's tenant. Public.";
}

/// What people see first once they are in, in the look of the host's tenant.
#[derive(Debug)]
pub struct DashboardPage;

impl Hook for DashboardPage {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "dashboard_page";
    const HTTP: Http = Http::get("/dashboard");
    const HEADERS: &'static [&'static str] = &["if-none-match"];
    const MAX_BODY: usize = 0;
    const SUMMARY: &'static str = "The dashboard's frame in the look of the host's tenant. Public: its figures are \
                                   fetched with the visitor's own token.";
}

/// What an authority asks a host for before it makes a certificate. RFC 8555, 8.3.
#[derive(Debug)]
pub struct ChallengeFile;

impl Hook for ChallengeFile {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "challenge_file";
    const HTTP: Http = Http::get("/.well-known/acme-challenge/{token}");
    const MAX_BODY: usize = 0;
    const SUMMARY: &'static str = "The answer to a certificate authority's challenge (RFC 8555). Public.";
}
