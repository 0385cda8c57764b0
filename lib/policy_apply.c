// SPDX-License-Identifier: BSD-2-Clause
#include "policy_apply.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app_hooks.h"
#include "app_reach.h"
#include "app_scan.h"
#include "clock.h"
#include "control.h"
#include "names_store.h"
#include "policy_keep.h"
#include "policy_match.h"
#include "policy_nic.h"
#include "policy_trial.h"
#include "policy_store.h"
#include "protections.h"
#include "rule_counts.h"

#define POLICY_MEMORY_MAX (1u << 30)	/* octets: what hooks search, and the counters of its rules */

/* ---- SAs that the new definitions leave behind ----------------------------------------------- */

static uint32_t count_orphans(const struct pins *pins, const struct protections *protections)
{
	bool served[PROTECT_MAX] = { false };
	uint32_t orphans = 0;
	struct sa_slot slot;

	for (size_t i = 0; i < protections->count; i++)
		served[protections->values[i].id % PROTECT_MAX] = true;
	for (uint32_t i = 1; i < pins->attachment.sa_slots; i++)
		if (!bpf_map_lookup_elem(pins->sa_slots_fd, &i, &slot) && slot.used)
			orphans += !served[slot.protect_id % PROTECT_MAX];
	return orphans;
}

/* ---- apply --------------------------------------------------------------------------------- */

struct install {
	const struct pins *pins;
	const char *ifname;
	const struct policy *policy;
	const struct policy_install_opts *opts;
	const char *text; /* canonical */
	struct protections protections;
	struct ipsecbpf_report *report;
};

/* Who reads counters shall not see them go backwards: what the rules counted while the names and the
 * file were written is carried over at the flip, and not only when the old generation goes. */
static void put_in_force(const struct install *install, uint32_t generation)
{
	const struct pins *pins = install->pins;

	rule_counts_carry(pins, !generation, generation);
	policy_flip(pins, generation, install->opts->trial_seconds);
	rule_counts_carry(pins, !generation, generation);
}

/* Before a policy with applications is in force, new sockets must be known. */
static int ensure_hooks(const struct install *install)
{
	if (!install->policy->application_count || install->opts->attaching)
		return 0;
	return app_hooks_ensure(install->pins, install->report);
}

/* The same policy again. Hooks that were off have missed sockets that were made meanwhile; a policy on
 * trial that ran out may not have taken them for an application's. */
static int restore_hooks(const struct install *install)
{
	int err = ensure_hooks(install);

	if (err || !install->policy->application_count || install->opts->attaching)
		return err;
	return app_scan_note_live(install->pins, install->report);
}

/* Sockets that are open already, so that no packet of theirs is anybody else's at any moment. */
static int note_sockets(const struct install *install, const struct policy_compiled *compiled,
			struct ipsecbpf_report *report)
{
	size_t noted;
	int err;

	if (!install->policy->application_count || install->opts->attaching)
		return 0;
	err = app_scan_note(install->pins, compiled->cells.items, &noted);
	if (err)
		report_error(report, install->ifname, "run it as root, with CAP_SYS_PTRACE",
			     "cannot note the sockets that are open already: %s", strerror(-err));
	return err;
}

/* What cannot be kept is no reason for the watch to leave old addresses in force. */
static int prepare_keeping(const struct install *install, struct policy_keeping *keeping, bool *ret_keep)
{
	struct ipsecbpf_report causes = { 0 };
	bool optional = install->opts->keep_if_possible;
	int err = 0;

	*ret_keep = install->opts->keep || optional;
	if (!*ret_keep)
		return 0;
	err = policy_keep_prepare(install->ifname, install->text, &install->policy->names, keeping,
				  optional ? &causes : install->report);
	for (size_t i = 0; i < causes.count; i++)
		report_warning(install->report, causes.items[i].object, causes.items[i].next, "%s",
			       causes.items[i].cause);
	report_fini(&causes);
	if (err)
		*ret_keep = false;
	return optional ? 0 : err;
}

static int switch_to(struct install *install, struct policy_compiled *compiled)
{
	const struct pins *pins = install->pins;
	uint32_t live = install->protections.live;
	struct policy_keeping keeping;
	bool keep;
	int err;

	/* Before anything bears it: a number is not given twice, whenever this is killed. */
	__atomic_store_n(&pins->control->last_serial, policy_head(compiled)->serial,
			 __ATOMIC_RELEASE);
	err = ensure_hooks(install);
	if (!err)
		err = note_sockets(install, compiled, install->report);
	if (!err)
		err = policy_store(pins, !live, install->policy, compiled, install->text);
	if (!err)
		err = protections_add(&install->protections);
	if (!err)
		err = prepare_keeping(install, &keeping, &keep);
	if (err) {
		policy_free_generation(pins, !live);
		return err;
	}
	put_in_force(install, !live);
	/* Those that came meanwhile, by a process that had begun before. It is in force, whatever of
	 * them cannot be noted; tc_egress notes them when they send. */
	note_sockets(install, compiled, NULL);
	if (keep)
		policy_keep_commit(&keeping, install->report);
	if (!install->opts->trial_seconds)
		policy_retire_generation(pins, live, install->report);
	return 0;
}

/* An equal policy need not be applied, but may not have been kept yet. */
static int keep_live(const struct install *install)
{
	struct policy_keeping keeping;
	bool keep;
	int err = prepare_keeping(install, &keeping, &keep);

	if (!err && keep)
		policy_keep_commit(&keeping, install->report);
	return err;
}

static bool is_live(const struct install *install, const struct spd_head *head,
		    const struct policy_compiled *compiled)
{
	const struct pins *pins = install->pins;

	return head->serial && pins->control->state == ATTACH_RUNNING &&
	       policy_text_is(pins, install->protections.live, install->text) &&
	       protections_are_live(&install->protections) &&
	       /* Beside host names, what users, groups and executables stand for may have changed. */
	       ((!names_are_in(install->policy) && !install->policy->application_count) ||
		policy_snapshot_is(pins, install->protections.live, compiled));
}

static void describe(const struct policy_compiled *compiled, struct ipsecbpf_apply_result *result)
{
	const struct spd_head *head = policy_head(compiled);

	result->entries = head->entries;
	result->steps = head->steps;
	result->memory = head->cells * sizeof(union spd_cell);
	result->counters_memory = rule_counts_memory(head->rules, head->apps);
}

/* Counters take memory for each CPU that there may ever be. */
static int check_memory(const struct install *install, const struct ipsecbpf_apply_result *result)
{
	if (result->memory + result->counters_memory <= POLICY_MEMORY_MAX)
		return 0;
	report_error(install->report, install->ifname, "write fewer rules, the counters of each take "
		     "memory for every CPU that this host may ever have; possible_cpus=N on the "
		     "kernel's command line bounds them",
		     "the policy would need %" PRIu64 " MiB of memory and %" PRIu64 " MiB for the "
		     "counters of its rules: more than %u MiB together", result->memory >> 20,
		     result->counters_memory >> 20, POLICY_MEMORY_MAX >> 20);
	return -EINVAL;
}

/* 0 says that there is no policy. */
static uint32_t next_serial(const struct pins *pins)
{
	uint32_t serial = pins->control->last_serial + 1;

	return serial ? serial : 1;
}

static int install_compiled(struct install *install, struct policy_compiled *compiled,
			    struct ipsecbpf_apply_result *result)
{
	const struct pins *pins = install->pins;
	struct spd_head live = { 0 }, *head = policy_head(compiled);
	int err = policy_read_head(pins, install->protections.live, &live);

	if (err && err != -ENODATA)
		return err;
	describe(compiled, result);
	err = check_memory(install, result);
	if (err)
		return err;
	if (is_live(install, &live, compiled)) {
		result->serial = live.serial;
		err = install->opts->dry_run ? 0 : restore_hooks(install);
		return install->opts->dry_run || err ? err : keep_live(install);
	}
	head->serial = next_serial(pins);
	head->applied_ns = wall_clock_ns();
	head->text_len = (uint32_t)strlen(install->text);
	result->changed = true;
	result->serial = head->serial;
	result->orphaned_sas = count_orphans(pins, &install->protections);
	return install->opts->dry_run ? 0 : switch_to(install, compiled);
}

static int install(struct install *install, struct ipsecbpf_apply_result *ret_result)
{
	struct ipsecbpf_apply_result result = { 0 };
	struct policy_compiled compiled = { 0 };
	struct app_patterns patterns;
	struct policy_compile_input input = {
		.policy = install->policy,
		.ifname = install->ifname,
		.protect_id = protections_id,
		.context = &install->protections,
		.patterns = &patterns,
	};
	int err = app_patterns_init(&patterns, install->policy, &install->pins->attachment,
				    install->report);

	if (err)
		return err;
	err = policy_compile(&input, &compiled, install->report);
	app_patterns_fini(&patterns);
	if (err)
		return err;
	err = install_compiled(install, &compiled, &result);
	policy_compiled_fini(&compiled);
	if (!err)
		*ret_result = result;
	return err;
}

static void warn_of_orphans(const struct install *install, uint32_t orphans)
{
	const char *next = "ipsecbpf sa flush, then ipsecbpf sa apply: they serve the new "
			   "definitions then";

	if (!orphans)
		return;
	if (install->opts->dry_run)
		next = "have new ones ready: ipsecbpf sa genkey, ipsecbpf sa apply";
	else if (install->opts->trial_seconds)
		next = "ipsecbpf sa apply new ones; flush nothing before ipsecbpf policy confirm, the "
		       "policy before needs its own";
	report_warning(install->report, install->ifname, next,
		       "%u SAs belong to protections or peers that this policy defines otherwise; "
		       "they %s", orphans,
		       install->opts->dry_run ? "would protect nothing" : "protect nothing now");
}

int policy_install(const struct pins *pins, const char *ifname, const struct policy *policy,
		   const struct policy_install_opts *opts,
		   struct ipsecbpf_apply_result *ret_result, struct ipsecbpf_report *report)
{
	struct install *work = calloc(1, sizeof(*work));
	char *text = policy_show(policy);
	int err = work && text ? 0 : -ENOMEM;

	if (!err) {
		*work = (struct install){
			.pins = pins,
			.ifname = ifname,
			.policy = policy,
			.opts = opts,
			.text = text,
			.report = report,
		};
		/* What a trial that ran out, or an apply that was killed, may have left: the names
		 * there would hold ids. */
		if (!opts->dry_run)
			policy_free_generation(pins, !policy_generation(pins));
		protections_init(&work->protections, pins, policy);
		err = install(work, ret_result);
		protections_fini(&work->protections);
	}
	if (!err)
		warn_of_orphans(work, ret_result->orphaned_sas);
	if (err && !(report && report->errors))
		report_error(report, ifname, "the live policy is unchanged", "cannot apply: %s",
			     strerror(-err));
	free(work);
	free(text);
	return err;
}

/* Two trials at once would leave nothing certain to go back to. */
static int refuse_during_trial(const struct pins *pins, struct ipsecbpf_report *report)
{
	int64_t left = policy_trial_left(pins);
	char next[192];

	if (left < 0)
		return 0;
	snprintf(next, sizeof(next), "ipsecbpf policy confirm %s keeps it, ipsecbpf policy confirm %s "
		 "--undo goes back at once", pins->ifname, pins->ifname);
	report_error(report, pins->ifname, next,
		     "a policy is on trial for another %" PRId64 " s: no other can be applied", left);
	return -EBUSY;
}

/* Is the whole attachment on trial? What it ends with is not known to be good then. */
static bool attachment_is_on_trial(const struct pins *pins)
{
	struct control_call call = { .type = CONTROL_STATUS };
	struct control_status status = { .trial_left = -1 };

	if (!control_ask(&pins->paths, &call, NULL) && call.reply_len == sizeof(status))
		memcpy(&status, call.reply, sizeof(status));
	free(call.reply);
	return status.trial_left >= 0;
}

void policy_watch_names(const struct pins *pins, struct ipsecbpf_report *report)
{
	if (control_order(&pins->paths, CONTROL_WATCH_NAMES, NULL))
		report_warning(report, pins->ifname, "ipsecbpf app watch follows them as long as it runs; "
			       "or detach and attach", "nobody follows the policy's host names: their "
			       "addresses stay as they are");
}

int policy_reapply(const struct pins *pins, const struct policy *policy, uint32_t identity,
		   struct ipsecbpf_apply_result *ret_result, struct ipsecbpf_report *report)
{
	const struct policy_install_opts for_good = { .keep_if_possible = true };

	if (policy_trial_left(pins) >= 0 || attachment_is_on_trial(pins) ||
	    policy_identity(pins) != identity)
		return -EAGAIN;
	policy_trial_settle(pins);
	return policy_install(pins, pins->ifname, policy, &for_good, ret_result, report);
}

static int apply(const struct pins *pins, const struct policy *policy,
		 const struct ipsecbpf_policy_opts *opts, struct ipsecbpf_apply_result *ret_result,
		 struct ipsecbpf_report *report)
{
	struct policy_install_opts how = {
		.dry_run = opts->dry_run,
		.trial_seconds = opts->confirm_seconds,
	};
	int err = pins_check_nic(pins, report);

	if (!err)
		err = refuse_during_trial(pins, report);
	if (err)
		return err;
	how.keep = !how.dry_run && !how.trial_seconds && !attachment_is_on_trial(pins);
	if (!how.dry_run)
		policy_trial_settle(pins);
	policy_warn_nic(policy, pins->ifname, report);
	app_reach_warn(pins, policy, report);
	err = policy_install(pins, pins->ifname, policy, &how, ret_result, report);
	/* Without one (a guard, say) the hooks go back all the same. */
	if (!err && how.trial_seconds)
		control_order(&pins->paths, CONTROL_POLICY_TRIAL, NULL);
	return err;
}

/* Asking for names takes its time: nobody waits for a lock meanwhile. */
static int resolve(const char *ifname, struct policy *policy, struct ipsecbpf_report *report)
{
	struct paths paths;

	/* Of an interface that cannot be, opening its pins says so. */
	return paths_init(&paths, ifname) ? 0 : names_prepare(ifname, policy, report);
}

int ipsecbpf_policy_apply(const char *ifname, struct policy *policy,
			  const struct ipsecbpf_policy_opts *opts,
			  struct ipsecbpf_apply_result *ret_result, struct ipsecbpf_report *report)
{
	static const struct ipsecbpf_policy_opts defaults = { .sz = sizeof(defaults) };
	bool dry_run = opts && opts->dry_run;
	int err, lock = -1;
	struct pins pins;

	err = resolve(ifname, policy, report);
	if (err)
		return err;
	/* Looking needs no lock: it may be done while another applies. */
	err = dry_run ? pins_open(&pins, ifname, report) :
			(lock = pins_open_locked(&pins, ifname, report));
	if (err < 0)
		return err;
	err = apply(&pins, policy, opts ? opts : &defaults, ret_result, report);
	if (!err && !dry_run && names_are_in(policy))
		policy_watch_names(&pins, report);
	if (dry_run)
		pins_close(&pins);
	else
		pins_close_locked(&pins, lock);
	return err;
}

struct policy *ipsecbpf_policy_live(const char *ifname, struct ipsecbpf_report *report)
{
	struct policy *policy;
	struct pins pins;
	int err = pins_open(&pins, ifname, report);

	if (err) {
		errno = -err;
		return NULL;
	}
	policy = policy_read_live(&pins, report);
	err = errno;
	pins_close(&pins);
	errno = err;
	return policy;
}
