// SPDX-License-Identifier: BSD-2-Clause
/* The end of a policy's trial by the administrator: it stays, or goes at once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app_scan.h"
#include "ipsecbpf.h"
#include "policy_apply.h"
#include "policy_keep.h"
#include "policy_store.h"
#include "policy_trial.h"

static int no_trial(const struct pins *pins, struct ipsecbpf_report *report)
{
	bool over = policy_trial_settle(pins);

	/* Nobody else will: the supervisor frees only what it has settled itself. */
	if (over)
		policy_free_generation(pins, !policy_generation(pins));
	if (policy_trial_left(pins) < 0)
		app_scan_note_live(pins, report);
	if (over || policy_trial_deadline(pins))
		report_error(report, pins->ifname, "apply it again",
			     "too late: the time was over, and the policy before is in force");
	else
		report_error(report, pins->ifname,
			     "ipsecbpf policy apply --confirm SECONDS begins a trial",
			     "no policy is on trial");
	return -ENOENT;
}

static int end_trial(const struct pins *pins, bool keep, struct ipsecbpf_report *report)
{
	uint32_t tried = (uint32_t)(pins->control->active & 1);
	int err;

	/* Of sockets that the one on trial did not take for an application's nothing was noted: so
	 * that no packet of theirs is anybody else's at any moment. */
	if (!keep && policy_trial_left(pins) >= 0)
		app_scan_note_generation(pins, !tried, NULL);
	err = policy_trial_end(pins, keep);
	if (err)
		return no_trial(pins, report);
	if (keep)
		policy_retire_generation(pins, !tried, report);
	else
		policy_free_generation(pins, tried);
	policy_watch_names(pins, NULL);
	/* Those that came meanwhile. */
	return keep ? 0 : app_scan_note_live(pins, report);
}

static int keep(const struct pins *pins, struct ipsecbpf_report *report)
{
	struct policy_keeping keeping;
	int err;

	if (policy_trial_left(pins) < 0)
		return no_trial(pins, report);
	err = policy_keep_live(pins, &keeping, report);
	if (err)
		return err;
	err = end_trial(pins, true, report);
	if (err)
		policy_keep_abandon(&keeping);
	else
		policy_keep_commit(&keeping, report);
	return err;
}

int ipsecbpf_policy_confirm(const char *ifname, bool undo, struct ipsecbpf_report *report)
{
	struct pins pins;
	int err, lock = pins_open_locked(&pins, ifname, report);

	if (lock < 0)
		return lock;
	err = undo ? end_trial(&pins, false, report) : keep(&pins, report);
	pins_close_locked(&pins, lock);
	return err;
}
