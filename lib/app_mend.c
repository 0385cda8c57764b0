// SPDX-License-Identifier: BSD-2-Clause
#include "app_mend.h"

#include <errno.h>
#include <string.h>

#include "app_hooks.h"
#include "app_scan.h"
#include "policy_store.h"
#include "policy_trial.h"

static int mend_hooks(const struct pins *pins, struct app_mend_result *result,
		      struct ipsecbpf_report *report)
{
	result->cgroup_gone = app_hooks_cgroup_is_gone(pins);
	if (result->cgroup_gone)
		return 0;
	result->attached = !app_hooks_attached(pins);
	return app_hooks_ensure(pins, report);
}

static int has_applications(const struct pins *pins, uint32_t generation, bool *ret_has)
{
	struct spd_head head;
	int err = policy_read_head(pins, generation, &head);

	*ret_has = !err && head.apps;
	return err == -ENODATA ? 0 : err;
}

/* During a trial by the policy before as well: that may come back at any moment. */
static int mend(const struct pins *pins, struct app_mend_result *result,
		struct ipsecbpf_report *report)
{
	uint32_t live = policy_generation(pins);
	bool trial = policy_trial_left(pins) >= 0, needed = false, before = false;
	int err = has_applications(pins, live, &needed);

	if (!err && trial)
		err = has_applications(pins, !live, &before);
	result->needed = needed || before;
	if (!err && result->needed)
		err = mend_hooks(pins, result, report);
	if (!err && needed)
		err = app_scan_note_generation(pins, live, report);
	if (!err && before)
		err = app_scan_note_generation(pins, !live, report);
	if (err || pins->control->state != ATTACH_CLOSED)
		return err;
	err = policy_reopen(pins);
	result->unblocked = !err;
	return err;
}

int app_mend(const char *ifname, struct app_mend_result *ret_result,
	     struct ipsecbpf_report *report)
{
	struct app_mend_result result = { 0 };
	struct pins pins;
	int err, lock = pins_open_locked(&pins, ifname, report);

	if (lock < 0)
		return lock;
	err = pins_check_nic(&pins, report);
	if (!err)
		err = mend(&pins, &result, report);
	if (err && !(report && report->errors))
		report_error(report, ifname, "ipsecbpf policy apply it again",
			     "cannot put the socket hooks right: %s", strerror(-err));
	pins_close_locked(&pins, lock);
	if (!err)
		*ret_result = result;
	return err;
}
