/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which generation is in force, and how a policy on trial ends.
 *
 * `policy apply --confirm` puts the deadline into the very word that says which generation is in
 * force (control.active, see bpf/abi.h): the hooks themselves go back to the policy before when it is
 * over, whatever has become of the command and of the supervisor. Each end of a trial is one
 * compare-and-exchange of that word, so exactly one of those who would end it does. Everything the
 * policy before needs (tables, text, names of protections) is kept with its generation until then;
 * its SAs are in the SAD whatever policy says.
 *
 * Included by: policy_apply.c, protections.c, supervisor.c, status.c and others who ask.
 */
#ifndef IPSECBPF_POLICY_TRIAL_H
#define IPSECBPF_POLICY_TRIAL_H

#include "pin.h"

/* The generation in force at this moment, as the hooks see it. */
uint32_t policy_generation(const struct pins *pins);

/* Identifies the policy in force: of every one that is applied it is another, and never given again.
 * 0: none has been loaded. */
uint32_t policy_identity(const struct pins *pins);

/* CLOCK_MONOTONIC ns at which the trial is or was over; 0: none is running, nor has one run out
 * since the last change. */
uint64_t policy_trial_deadline(const struct pins *pins);

/* Seconds until the policy before comes back, rounded up; -1: no trial is running. */
int64_t policy_trial_left(const struct pins *pins);

/* Puts a generation in force, for good (0) or for this long unless policy_trial_end() is first. */
void policy_flip(const struct pins *pins, uint32_t generation, uint32_t trial_seconds);

/*
 * ATTACH_CLOSED ends: the socket hooks are there again, or are not needed. RUNNING where a supervisor
 * answers, a guard where there is none, after a detach say. 0; or -errno of a supervisor that does not
 * answer, and it stays closed. Never called by the supervisor.
 */
int policy_reopen(const struct pins *pins);

/*
 * Ends a trial that runs: keep the policy, or go back at once. 0, or -ENOENT if none is running any
 * more (or at all). Needs the lock, as what it returns to must not be changed meanwhile.
 */
int policy_trial_end(const struct pins *pins, bool keep);

/*
 * Notes that a trial has run out: the hooks need not look at the clock any more. True if it had, and
 * nobody else has noted it. Needs no lock.
 */
bool policy_trial_settle(const struct pins *pins);

#endif /* IPSECBPF_POLICY_TRIAL_H */
