//! The claims about a store of the whole platform.

mod approvals;
mod asks;
mod backlog;
mod bound;
mod clock;
mod commits;
mod decisions;
mod digests;
mod fairness;
mod finding_11;
mod leases;
mod listing;
mod operations;
mod outbox;
mod races;
mod refusals;
mod retry;
mod state_machine;
mod tenants;

use std::sync::Arc;

use crate::{Backend, Later, world::World};

/// A claim about every store of the platform.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    name: &'static str,
    run: fn(Arc<World>) -> Later<'static, ()>,
}

impl Claim {
    /// All of them.
    pub fn all() -> Vec<Self> {
        all()
    }

    /// The claim as a name: `a_decision_moves_a_pending_approval_once`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Checks the claim on an empty store, inside a tokio runtime. Several threads let its competitors run in parallel.
    ///
    /// # Panics
    /// When the claim is violated, or the store fails.
    pub async fn check(&self, backend: Arc<dyn Backend>) {
        (self.run)(Arc::new(World::new(backend).await)).await;
    }
}

macro_rules! claims {
    ($($module:ident { $($name:ident),+ $(,)? })+) => {
        fn all() -> Vec<Claim> {
            vec![$($(Claim {
                name: stringify!($name),
                run: |world| Box::pin(async move { $module::$name(&world).await }),
            }),+),+]
        }
    };
}

claims! {
    approvals {
        a_request_is_pending_and_bound_to_what_it_was_made_for,
        a_request_under_a_key_that_was_used_is_the_same_request,
        a_decision_moves_a_pending_approval_once,
        an_administrator_rejects_for_the_own_team_only,
        an_operator_who_comes_too_late_makes_it_expired,
        an_administrator_may_reject_an_approval_past_its_window,
        an_unknown_link_is_404,
        every_event_says_who_did_what_to_what,
        another_teams_approval_is_absent,
        a_token_finds_its_approval_and_is_nowhere_in_clear,
    }
    backlog {
        the_backlog_is_what_is_owed_and_since_when,
    }
    clock {
        after_a_clock_reset_a_dead_workers_job_is_ready_in_the_time_of_a_lease,
        after_a_clock_reset_a_dead_workers_job_is_ready_though_others_are_waiting,
        after_a_clock_reset_a_live_worker_keeps_its_job,
        after_a_clock_reset_links_are_sent_in_the_time_of_a_pause,
        after_a_clock_reset_keys_and_leases_are_free_in_the_time_of_a_lease,
    }
    fairness {
        jobs_of_teams_are_leased_in_turns,
        a_team_with_many_jobs_gets_its_turn_too,
        links_of_teams_are_sent_in_turns,
    }
    asks {
        the_same_again_is_the_same_approval_until_it_is_closed,
        a_request_is_another_one_when_what_it_is_bound_to_has_changed,
        a_team_has_as_many_undecided_approvals_as_it_may_have,
        what_can_never_be_used_is_refused_and_nothing_is_written,
        of_eight_that_ask_for_the_same_one_creates_it,
    }
    bound {
        a_variable_that_changed_since_is_409_and_leaves_it_approved,
        a_value_that_changed_in_the_vault_since_is_409,
        a_vault_key_that_had_no_value_may_get_one,
        secrets_that_were_not_there_are_not_copied,
        a_variable_that_changes_between_plan_and_commit_is_not_written,
        a_target_that_was_written_since_is_409_also_when_it_is_again_what_it_was,
        no_value_is_in_what_is_bound,
    }
    commits {
        a_consume_is_refused_in_the_order_of_the_rules,
        a_guard_that_is_left_out_is_not_looked_at,
        a_lost_consume_changes_nothing,
        the_stores_own_clock_decides_expiry,
        a_refused_member_leaves_no_trace,
        a_group_refuses_in_the_order_of_its_members,
        a_commit_writes_all_of_it,
        a_target_that_is_there_is_updated_and_its_own_variables_win,
        a_write_that_trusts_its_look_creates_a_second_target,
        a_second_job_changes_nothing,
        vault_keys_are_copied_and_none_is_overwritten,
        a_twin_is_created_once,
    }
    decisions {
        a_person_decides_by_a_link_or_with_a_session_and_is_named,
        an_approval_is_revoked_until_it_is_used_and_never_after,
        of_a_use_and_a_revocation_one_happens,
        what_is_overdue_is_expired_once_with_its_event,
        a_rejection_after_expiry_is_written_once_and_changes_nothing,
    }
    digests {
        every_part_of_a_request_is_in_its_digest,
        no_digest_is_remembered_past_a_new_build,
        a_target_that_is_a_source_itself_is_seen_as_it_was_written,
    }
    finding_11 {
        case_1_a_source_service_without_an_image_is_412_and_leaves_the_approval_approved,
        case_2_a_source_with_no_services_is_412_and_leaves_the_approval_approved,
        case_3_when_all_is_well_it_is_executed_exactly_once_and_a_second_use_gets_409,
        case_4_a_stale_snapshot_of_an_executed_approval_is_409,
        case_5_a_store_that_fails_in_the_consume_is_503_execute_failed,
    }
    leases {
        a_lease_is_exclusive_until_it_expires_or_is_released,
        an_approvals_lease_is_its_teams_own,
        another_teams_fence_is_the_real_one,
        who_was_overtaken_cannot_consume,
        an_expired_lease_is_valid_until_it_is_acquired_again,
        an_overtaken_promotion_leaves_no_trace,
        a_lease_is_taken_by_one_of_eight,
    }
    listing {
        a_list_is_newest_first_and_has_50_unless_more_are_wanted_and_200_at_most,
        pages_have_every_approval_once,
        a_list_can_be_of_one_status_and_of_one_team,
        a_list_has_no_row_of_another_team,
        a_token_is_in_no_debug_output,
    }
    operations {
        a_notice_is_leased_once_and_comes_back_when_the_lease_runs_out,
        a_notice_that_failed_is_due_again_when_it_was_said,
        a_stale_notice_settles_nothing,
        notices_of_what_is_decided_are_done,
        notices_go_out_oldest_first,
        a_key_is_one_requests_until_it_is_released_or_runs_out,
        a_key_that_is_kept_stays_its_requests,
        a_key_is_released_only_by_its_holder,
        a_key_is_a_teams_own,
        what_is_held_for_ever_is_held,
        deploy_logs_are_kept_in_their_order,
        the_store_is_ready,
    }
    outbox {
        a_leased_job_is_exclusive_until_the_lease_expires,
        a_worker_whose_lease_ran_out_can_neither_renew_nor_finish,
        jobs_are_leased_oldest_first,
        deploys_of_a_target_do_not_overlap,
        a_job_that_is_launched_twice_is_one_launch,
        what_is_not_building_stays_as_it_is,
        a_deploy_without_a_job_settles_the_first_target,
    }
    races {
        of_eight_consumers_one_executes_and_the_others_get_409,
        of_eight_bare_consumes_one_is_applied,
        of_concurrent_decisions_one_wins,
        consumers_and_a_rejection_agree,
        consumers_of_different_approvals_share_one_target,
        two_creators_do_not_pass_the_cap,
        a_promotion_and_a_creator_do_not_pass_the_cap,
        a_job_is_leased_by_one_of_eight,
        a_notice_is_leased_by_one_of_eight,
        one_of_eight_gets_a_key,
        one_request_under_a_key_is_one_approval,
        a_reader_never_sees_half_a_commit,
    }
    refusals {
        every_refusal_of_a_promotion_can_be_reached,
        another_teams_approval_answers_as_one_that_does_not_exist,
        a_caller_without_a_team_has_nothing,
    }
    retry {
        the_same_key_gets_the_same_outcome_and_any_other_a_409,
        the_same_key_for_something_else_is_422,
        a_refusal_is_never_the_outcome_of_a_key,
        an_order_that_recalls_nothing_repeats_nothing,
        a_commit_that_does_not_remember_stores_no_outcome_under_the_key,
        a_build_between_plan_and_commit_is_not_what_is_written,
        an_execution_is_there_when_its_approval_is_executed,
    }
    state_machine {
        any_sequence_of_acts_is_what_the_table_of_transitions_says,
        a_preflight_failure_never_consumes_and_a_retry_succeeds,
    }
    tenants {
        a_stack_is_found_by_its_slug_by_its_own_team_only,
        a_family_is_its_members_oldest_first,
        creating_counts_and_creates_atomically,
        a_new_build_is_seen_by_the_next_reader,
        variables_are_set_and_removed,
        a_resource_is_found_by_its_own_team_only,
        what_a_team_pays_for_can_change,
        direct_changes_of_protected_environments_are_kept_newest_first,
        a_caller_without_a_team_writes_nothing,
        text_of_any_kind_comes_back_as_it_was,
    }
}
