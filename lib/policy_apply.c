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

#include "control.h"
#include "policy_keep.h"
#include "policy_trial.h"
#include "protections.h"

/* ---- canonical text, kept beside the generation it belongs to ------------------------------- */

static int store_text(const struct pins *pins, uint32_t generation, const char *text, size_t len)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_INNER_MAP);
	uint32_t chunks = (uint32_t)(len / POLICY_TEXT_CHUNK + 1);
	char chunk[POLICY_TEXT_CHUNK];
	int err = 0, fd;

	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "policy_text", sizeof(uint32_t), POLICY_TEXT_CHUNK,
			    chunks, &opts);
	if (fd < 0)
		return -errno;
	for (uint32_t i = 0; !err && i < chunks; i++) {
		size_t at = (size_t)i * POLICY_TEXT_CHUNK;
		size_t part = len - at < POLICY_TEXT_CHUNK ? len - at : POLICY_TEXT_CHUNK;

		memset(chunk, 0, sizeof(chunk));
		memcpy(chunk, text + at, part);
		if (bpf_map_update_elem(fd, &i, chunk, 0))
			err = -errno;
	}
	if (!err && bpf_map_update_elem(pins->policy_text_fd, &generation, &fd, 0))
		err = -errno;
	close(fd);
	return err;
}

static char *load_text(const struct pins *pins, uint32_t generation, uint32_t len)
{
	char *text = malloc((size_t)len + POLICY_TEXT_CHUNK);
	uint32_t id;
	int fd;

	if (!text)
		return NULL;
	if (bpf_map_lookup_elem(pins->policy_text_fd, &generation, &id))
		goto fail;
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		goto fail;
	for (uint32_t i = 0; i * POLICY_TEXT_CHUNK < len; i++)
		if (bpf_map_lookup_elem(fd, &i, text + (size_t)i * POLICY_TEXT_CHUNK)) {
			close(fd);
			goto fail;
		}
	close(fd);
	return text;
fail:
	free(text);
	return NULL;
}

static int read_head(const struct pins *pins, uint32_t generation, struct spd_generation *ret_head)
{
	return bpf_map_lookup_elem(pins->generations_fd, &generation, ret_head) ? -errno : 0;
}

char *policy_read_text(const struct pins *pins, size_t *ret_len)
{
	uint32_t live = policy_generation(pins);
	struct spd_generation head;
	char *text;

	if (read_head(pins, live, &head) || !head.serial) {
		errno = ENODATA;
		return NULL;
	}
	text = load_text(pins, live, head.text_len);
	if (!text)
		return NULL;
	text[head.text_len] = '\0'; /* there is room for a chunk more */
	*ret_len = head.text_len;
	return text;
}

struct policy *policy_read_live(const struct pins *pins, struct ipsecbpf_report *report)
{
	struct ipsecbpf_report said = { 0 };
	struct policy *policy;
	size_t len;
	char *text = policy_read_text(pins, &len);
	int err;

	if (!text)
		return NULL;
	policy = policy_parse(text, len, pins->paths.dir, &said);
	err = errno;
	/* Its warnings were given when it was applied. */
	for (size_t i = 0; i < said.count && !policy; i++)
		report_add(report, said.items[i].level, said.items[i].object, said.items[i].next,
			   "%s", said.items[i].cause);
	report_fini(&said);
	free(text);
	errno = err;
	return policy;
}

/* ---- tables -------------------------------------------------------------------------------- */

static int store_table(const struct pins *pins, uint32_t key, const struct spd_entry *entries,
		       uint32_t count)
{
	struct spd_table *table = calloc(1, sizeof(*table));
	uint32_t zero = 0;
	int err = 0, fd;

	if (!table)
		return -ENOMEM;
	memcpy(table->entries, entries, count * sizeof(*entries));
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "spd_table", sizeof(uint32_t), sizeof(*table), 1,
			    NULL);
	if (fd < 0 || bpf_map_update_elem(fd, &zero, table, 0) ||
	    bpf_map_update_elem(pins->spd_fd, &key, &fd, 0))
		err = -errno;
	if (fd >= 0)
		close(fd);
	free(table);
	return err;
}

static int store_tables(const struct pins *pins, uint32_t generation,
			const struct policy_compiled *compiled)
{
	int err = 0;

	for (uint32_t dir = 0; dir < SPD_DIRECTION_COUNT; dir++)
		for (uint32_t family = 0; !err && family < FAMILY_COUNT; family++)
			if (compiled->head.entries[dir][family])
				err = store_table(pins, SPD_TABLE(generation, dir, family),
						  compiled->entries[dir][family],
						  compiled->head.entries[dir][family]);
	return err;
}

/*
 * Frees a generation's tables. Deleting from a map of maps waits until every program that may still
 * look at them is done, so the generation may be filled anew when this returns.
 */
void policy_free_generation(const struct pins *pins, uint32_t generation)
{
	/* First what no hook reads: programs that began under this generation are done after it. */
	bpf_map_delete_elem(pins->policy_text_fd, &generation);
	for (uint32_t dir = 0; dir < SPD_DIRECTION_COUNT; dir++)
		for (uint32_t family = 0; family < FAMILY_COUNT; family++) {
			uint32_t key = SPD_TABLE(generation, dir, family);

			bpf_map_delete_elem(pins->spd_fd, &key);
		}
	protections_remove(pins, generation);
}

/* What a trial that ran out, or an apply that was killed, left in the generation to be filled. */
static void clear_spare(const struct pins *pins, uint32_t spare)
{
	uint32_t id;

	if (!bpf_map_lookup_elem(pins->policy_text_fd, &spare, &id))
		policy_free_generation(pins, spare);
	else
		protections_remove(pins, spare); /* tables without text were never in force */
}

static int fill_spare(const struct pins *pins, uint32_t spare, struct policy_compiled *compiled,
		      const char *text)
{
	int err;

	compiled->head.text_len = (uint32_t)strlen(text);
	err = store_tables(pins, spare, compiled);
	if (!err)
		err = store_text(pins, spare, text, compiled->head.text_len);
	if (!err && bpf_map_update_elem(pins->generations_fd, &spare, &compiled->head, 0))
		err = -errno;
	return err;
}

/* ---- SAs that the new definitions leave behind ----------------------------------------------- */

static uint32_t count_orphans(const struct pins *pins, const struct protections *protections)
{
	uint32_t orphans = 0;
	struct sa_slot slot;

	for (uint32_t i = 1; i < pins->attachment.sa_slots; i++) {
		bool served = false;

		if (bpf_map_lookup_elem(pins->sa_slots_fd, &i, &slot) || !slot.used)
			continue;
		for (size_t k = 0; k < protections->count && !served; k++)
			served = protections->values[k].id == slot.protect_id;
		orphans += !served;
	}
	return orphans;
}

/* ---- apply --------------------------------------------------------------------------------- */

static bool is_live(const struct pins *pins, const struct spd_generation *head, uint32_t active,
		    const char *text)
{
	char *live;
	bool same;

	if (!head->serial || pins->control->state != ATTACH_RUNNING ||
	    strlen(text) != head->text_len)
		return false;
	live = load_text(pins, active, head->text_len);
	same = live && !memcmp(live, text, head->text_len);
	free(live);
	return same;
}

struct install {
	const struct pins *pins;
	const char *ifname;
	const struct policy *policy;
	const struct policy_install_opts *opts;
	const char *text; /* canonical */
	struct protections protections;
	struct ipsecbpf_report *report;
};

static int switch_to(struct install *install, struct policy_compiled *compiled)
{
	const struct pins *pins = install->pins;
	uint32_t live = install->protections.live;
	struct policy_keeping keeping;
	int err;

	clear_spare(pins, !live);
	err = fill_spare(pins, !live, compiled, install->text);
	if (!err)
		err = protections_add(&install->protections);
	if (!err && install->opts->keep)
		err = policy_keep_prepare(install->ifname, install->text, &keeping,
					  install->report);
	if (err) {
		policy_free_generation(pins, !live);
		return err;
	}
	policy_flip(pins, !live, install->opts->trial_seconds);
	if (install->opts->keep)
		policy_keep_commit(&keeping, install->report);
	if (!install->opts->trial_seconds)
		policy_free_generation(pins, live);
	return 0;
}

/* An equal policy need not be applied, but may not have been kept yet. */
static int keep_live(const struct install *install)
{
	struct policy_keeping keeping;
	int err;

	if (!install->opts->keep)
		return 0;
	err = policy_keep_prepare(install->ifname, install->text, &keeping, install->report);
	if (!err)
		policy_keep_commit(&keeping, install->report);
	return err;
}

static uint32_t next_serial(const struct pins *pins, uint32_t live_serial)
{
	uint32_t other = !policy_generation(pins);
	struct spd_generation head;

	/* That of a trial that went back is not given out again. */
	if (!read_head(pins, other, &head) && head.serial > live_serial)
		return head.serial + 1;
	return live_serial + 1;
}

static int install_compiled(struct install *install, struct policy_compiled *compiled,
			    struct ipsecbpf_apply_result *result)
{
	const struct pins *pins = install->pins;
	uint32_t live = install->protections.live;
	struct spd_generation head = { 0 };
	int err = read_head(pins, live, &head);

	if (err)
		return err;
	for (int dir = 0; dir < SPD_DIRECTION_COUNT; dir++)
		for (int family = 0; family < FAMILY_COUNT; family++)
			result->entries += compiled->head.entries[dir][family];
	if (is_live(pins, &head, live, install->text) &&
	    protections_are_live(&install->protections)) {
		result->serial = head.serial;
		return install->opts->dry_run ? 0 : keep_live(install);
	}
	compiled->head.serial = next_serial(pins, head.serial);
	result->changed = true;
	result->serial = compiled->head.serial;
	result->orphaned_sas = count_orphans(pins, &install->protections);
	return install->opts->dry_run ? 0 : switch_to(install, compiled);
}

static int install(struct install *install, struct ipsecbpf_apply_result *ret_result)
{
	struct ipsecbpf_apply_result result = { 0 };
	struct policy_compiled compiled = { 0 };
	int err;

	err = policy_compile(install->policy, install->ifname, protections_id,
			     &install->protections, &compiled, install->report);
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
	err = policy_install(pins, pins->ifname, policy, &how, ret_result, report);
	/* Without one (a guard, say) the hooks go back all the same. */
	if (!err && how.trial_seconds)
		control_order(&pins->paths, CONTROL_POLICY_TRIAL, NULL);
	return err;
}

int ipsecbpf_policy_apply(const char *ifname, const struct policy *policy,
			  const struct ipsecbpf_policy_opts *opts,
			  struct ipsecbpf_apply_result *ret_result, struct ipsecbpf_report *report)
{
	static const struct ipsecbpf_policy_opts defaults = { .sz = sizeof(defaults) };
	bool dry_run = opts && opts->dry_run;
	int err, lock = -1;
	struct pins pins;

	/* Looking needs no lock: it may be done while another applies. */
	err = dry_run ? pins_open(&pins, ifname, report) :
			(lock = pins_open_locked(&pins, ifname, report));
	if (err < 0)
		return err;
	err = apply(&pins, policy, opts ? opts : &defaults, ret_result, report);
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
