//! Real bugs: public reports of single-use actions, each as the flow that was reported and the flow of its fix.

use super::BuiltIn;

/// A public report, judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// A title.
    pub title: &'static str,
    /// The reports, as `owner/project#number`: the judged one first, then others of the same kind.
    pub reports: &'static [&'static str],
    /// The incident.
    pub story: &'static str,
    /// Ids of the properties that correspond to the report.
    pub violates: &'static [&'static str],
    /// The reason of each violation that the reports do not name.
    pub besides: &'static str,
    /// The violations that remain after the fix.
    pub still: &'static str,
    /// The reported flow, then intermediate ones, then the fix.
    pub flows: &'static [BuiltIn],
}

macro_rules! flows {
    ($($name:literal),+) => {
        &[$(BuiltIn { name: $name, source: include_str!(concat!("../../flows/cases/", $name, ".toml")) }),+]
    };
}

impl Case {
    /// The reported flow.
    pub fn bug(&self) -> BuiltIn {
        self.flows[0]
    }

    /// The flow of the fix.
    pub fn fix(&self) -> BuiltIn {
        self.flows[self.flows.len() - 1]
    }
}

/// Every case.
pub const CASES: &[Case] = &[
    Case {
        title: "An invite is gone, and there is no account",
        reports: &["danny-avila/LibreChat#15541", "danny-avila/LibreChat#15611", "Stirling-PDF#7861"],
        story: "A middleware deleted the invite before the password, the domain and the e-mail address were judged. \
                A mistyped password used it up. The fix deletes it once an account was created; the e-mail address of \
                the account is that of the invite, and unique. Where an invite is for any address, the deletion \
                alone uses it, and comes too late.",
        violates: &["S1", "L3"],
        besides: "A crash after the deletion loses the invite, too (L1). An invite for any address that is \
                  deleted last registers each of two callers (S2, S3), and an account stays when the deletion \
                  fails (S7, S17).",
        still: "",
        flows: flows!["01-librechat-invite-buggy", "01-librechat-invite-bearer", "01-librechat-invite-fixed"],
    },
    Case {
        title: "Another client burns the code",
        reports: &[
            "IdentityServer4#3996",
            "IdentityServer4#4501",
            "MystenLabs/MemWal#939",
            "grafana/mcp-grafana#851",
        ],
        story: "The authorization code was removed from the store, and then the client was compared. A client that \
                only knew the code used it up.",
        violates: &["S12", "S1"],
        besides: "The client whose code was burnt cannot try again (L3).",
        still: "",
        flows: flows!["02-identityserver-code-buggy", "02-identityserver-code-fixed"],
    },
    Case {
        title: "A certificate exists, and its owner gives up on it",
        reports: &["cert-manager#4697"],
        story: "The order was finalized at the CA, and the write of one's own resource failed. The CA \
                refused the next reconcile, since the order was finalized already, and it gave up.",
        violates: &["S13"],
        besides: "",
        still: "",
        flows: flows!["03-cert-manager-order-buggy", "03-cert-manager-order-fixed"],
    },
    Case {
        title: "A coupon beyond its limit",
        reports: &["vendure-ecommerce/vendure#4660", "saleor#544"],
        story: "The use limit was read when the coupon was applied, and the use was counted when the order was \
                settled. A first fix held a lock that ended before the order was settled.",
        violates: &["S2", "S3"],
        besides: "",
        still: "",
        flows: flows!["04-vendure-coupon-buggy", "04-vendure-coupon-early-lock", "04-vendure-coupon-fixed"],
    },
    Case {
        title: "A mail scanner approves",
        reports: &["activepieces#6671", "activepieces#14026"],
        story: "Approve and disapprove were links that a GET follows. A mail scanner followed both.",
        violates: &["S15"],
        besides: "The scanner's press counts as an approval, and no person gave it (S18).",
        still: "",
        flows: flows!["05-activepieces-link-buggy", "05-activepieces-link-fixed"],
    },
    Case {
        title: "Approved after the deadline",
        reports: &["elizaOS/eliza#11092"],
        story: "The approval accepted a pending request past its deadline, and so did the run.",
        violates: &["S5"],
        besides: "",
        still: "",
        flows: flows!["06-eliza-deadline-buggy", "06-eliza-deadline-fixed"],
    },
    Case {
        title: "A challenge that can be tried again and again",
        reports: &["keycloak#49921", "getkirby/kirby#8261"],
        story: "A failed attempt left the challenge valid.",
        violates: &["S21"],
        besides: "",
        still: "",
        flows: flows!["07-keycloak-challenge-buggy", "07-keycloak-challenge-fixed"],
    },
    Case {
        title: "One refresh token, many successors",
        reports: &["nightscout/nocturne#326"],
        story: "Parallel refreshes of one token all found it valid, and each made a successor.",
        violates: &["S2", "S3"],
        besides: "A crash between the two writes leaves a revoked token without a successor (L1).",
        still: "",
        flows: flows!["08-nocturne-refresh-buggy", "08-nocturne-refresh-fixed"],
    },
    Case {
        title: "A webhook that is never handled",
        reports: &["postel-sh/postel#129", "omniclaw#391", "AI-Shipping-Labs/website#1525"],
        story: "The id of the webhook was recorded before its handler: a handler that failed was never run again. \
                Another project looked the id up, ran the handler and then recorded it: two deliveries ran it twice.",
        violates: &["S1", "L3"],
        besides: "A crash after the id was recorded loses the handler's work (L1). In the order of the other \
                  project two deliveries run the handler (S2), and its rows stay when the recording fails (S7, S17).",
        still: "",
        flows: flows!["09-postel-webhook-buggy", "09-postel-webhook-look-first", "09-postel-webhook-fixed"],
    },
    Case {
        title: "Released, although half of it was done",
        reports: &["Automattic/newspack-workspace#940"],
        story: "A claim was released when the second half of the work failed. The first half had had its effect, and \
                the next attempt repeated it.",
        violates: &["S2"],
        besides: "The effect of the first half stays after the refusal (S7), without a claim (S17). The release \
                  may fail (S1, L3), and a crash after the claim leaves work that no attempt finishes (L1).",
        still: "A crash after the claim leaves work that no attempt finishes. The release is no step of the flow: \
                from the first half on the fix releases nothing, and before it nothing refuses.",
        flows: flows!["10-newspack-claim-buggy", "10-newspack-claim-fixed"],
    },
    Case {
        title: "Two ways to complete one payment",
        reports: &["medusajs/medusa#13301"],
        story: "The confirmation page and the payment webhook both completed the payment. The fix put a lock around \
                both.",
        violates: &["S2", "S17"],
        besides: "The order stays when the marking fails (S7).",
        still: "The lock runs out while its holder is slow: two orders. With a lock that may run out at any time, every \
                run of the bug is a run of the fix, which therefore violates the same properties. Two of them take no \
                second request, so that no lock keeps them: an order exists before its payment is marked (S17), and \
                stays when marking it fails (S7). A unique order for each payment, in the transaction that marks it, \
                would keep all promises.",
        flows: flows!["11-medusa-payment-buggy", "11-medusa-payment-fixed"],
    },
    Case {
        title: "The lock runs out while the job runs",
        reports: &["rafidahmed870/queue-jobs-worker#11", "OptimalBits/bull#308"],
        story: "The lock of a job ran out while the job ran, and a second worker ran it, too.",
        violates: &["S2", "S3"],
        besides: "",
        still: "",
        flows: flows!["12-queue-worker-lock-buggy", "12-queue-worker-lock-fixed"],
    },
    Case {
        title: "Sold twice, and both orders stay active",
        reports: &["FOSSBilling#4130", "FOSSBilling#4134"],
        story: "Stock was decremented after the order was activated. The refusal of the second decrement was logged, \
                and the order stayed active.",
        violates: &["S2", "S17"],
        besides: "The second customer gets a success (S3), and an order stays when the decrement fails (S7).",
        still: "",
        flows: flows!["13-fossbilling-stock-buggy", "13-fossbilling-stock-fixed"],
    },
    Case {
        title: "More downloads than allowed",
        reports: &["TwiStarSystems/Secure-FTP-WEB#38"],
        story: "The counter was read, the file was sent, the counter was written. Parallel downloads read the same \
                count.",
        violates: &["S2"],
        besides: "The limit in the report is 3. The flow says 2, which three callers exceed. Each of them gets a \
                  success (S3), and a late write of an old count makes a used-up link usable again (S9).",
        still: "",
        flows: flows!["14-secure-ftp-downloads-buggy", "14-secure-ftp-downloads-fixed"],
    },
    Case {
        title: "One person, two approvers",
        reports: &["palantir/policy-bot#33", "superplane#1785"],
        story: "Two accounts or two presses of one person counted as two approvers.",
        violates: &["S18"],
        besides: "",
        still: "",
        flows: flows!["15-policy-bot-approvers-buggy", "15-policy-bot-approvers-fixed"],
    },
    Case {
        title: "A token that is in no list",
        reports: &["lsst-sqre/gafaelfawr#1042"],
        story: "The token was written to Redis, and then the insert of its row failed.",
        violates: &["S7"],
        besides: "",
        still: "The deletion may fail, too, or be lost in a crash.",
        flows: flows!["16-gafaelfawr-token-buggy", "16-gafaelfawr-token-fixed"],
    },
    Case {
        title: "Deleting the used code fails, and the log says so",
        reports: &["obot-platform/obot#7329"],
        story: "The used code was to be deleted. When the deletion failed, the error was logged and the tokens were \
                issued.",
        violates: &["S2"],
        besides: "",
        still: "",
        flows: flows!["17-obot-code-buggy", "17-obot-code-fixed"],
    },
    Case {
        title: "Two clicks, two deploys",
        reports: &["metaps/genova#289", "natlas#136", "better-auth#6192", "django-password-reset#46"],
        story: "Nothing marked the button as used. Two clicks made two deploy jobs.",
        violates: &["S2"],
        besides: "The second click gets a success (S3). Since nothing uses the button, every job is one too many \
                  (S17).",
        still: "",
        flows: flows!["18-genova-deploy-buggy", "18-genova-deploy-fixed"],
    },
    Case {
        title: "A retry that repeats its own write",
        reports: &["idempot-dev/idempot-js#185"],
        story: "A write whose answer was lost was retried, without a condition that recognises the first one.",
        violates: &["S2"],
        besides: "A write without a condition refuses no second caller either (S3).",
        still: "",
        flows: flows!["19-idempot-retry-buggy", "19-idempot-retry-fixed"],
    },
    Case {
        title: "Forgotten by a restart",
        reports: &["NousResearch/hermes-agent#100408", "webrenew/unicon#56", "webrenew/unicon#66"],
        story: "The process remembered what was used. A restart forgot it.",
        violates: &["S2"],
        besides: "The restart makes a used code usable again (S9).",
        still: "",
        flows: flows!["20-hermes-memory-buggy", "20-hermes-memory-fixed"],
    },
];
