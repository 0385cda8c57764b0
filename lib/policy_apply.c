// SPDX-License-Identifier: BSD-2-Clause
#include "policy_apply.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

struct policy *policy_read_live(const struct pins *pins, struct ipsecbpf_report *report)
{
	uint32_t active = pins->control->active & 1;
	struct spd_generation head;
	struct policy *policy;
	char *text;

	if (read_head(pins, active, &head) || !head.serial) {
		errno = ENODATA;
		return NULL;
	}
	text = load_text(pins, active, head.text_len);
	if (!text)
		return NULL;
	policy = policy_parse(text, head.text_len, pins->paths.dir, report);
	free(text);
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
static void free_generation(const struct pins *pins, uint32_t generation)
{
	/* First what no hook reads: programs that began under this generation are done after it. */
	bpf_map_delete_elem(pins->policy_text_fd, &generation);
	for (uint32_t dir = 0; dir < SPD_DIRECTION_COUNT; dir++)
		for (uint32_t family = 0; family < FAMILY_COUNT; family++) {
			uint32_t key = SPD_TABLE(generation, dir, family);

			bpf_map_delete_elem(pins->spd_fd, &key);
		}
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

static void flip(const struct pins *pins, uint32_t spare)
{
	__atomic_store_n(&pins->control->active, spare, __ATOMIC_RELEASE);
	if (pins->control->state == ATTACH_BLOCKED)
		__atomic_store_n(&pins->control->state, ATTACH_RUNNING, __ATOMIC_RELEASE);
}

struct install {
	const struct pins *pins;
	const char *ifname;
	const struct policy *policy;
	const char *text; /* canonical */
	struct protections protections;
	struct ipsecbpf_report *report;
};

static int switch_to(struct install *install, struct policy_compiled *compiled, uint32_t spare)
{
	const struct pins *pins = install->pins;
	int err;

	err = fill_spare(pins, spare, compiled, install->text);
	/* Ids before the flip: an interruption in between leaves names that the next apply settles.
	 */
	if (!err)
		err = protections_add(&install->protections);
	if (err) {
		free_generation(pins, spare);
		return err;
	}
	flip(pins, spare);
	protections_remove_old(&install->protections);
	free_generation(pins, !spare);
	return 0;
}

static int install(struct install *install, struct ipsecbpf_apply_result *ret_result)
{
	const struct pins *pins = install->pins;
	uint32_t active = pins->control->active & 1;
	struct policy_compiled compiled = { 0 };
	struct spd_generation live = { 0 };
	int err;

	err = read_head(pins, active, &live);
	if (!err)
		err = policy_compile(install->policy, install->ifname, protections_id,
				     &install->protections, &compiled, install->report);
	if (err)
		return err;
	if (is_live(pins, &live, active, install->text) &&
	    protections_are_live(&install->protections)) {
		*ret_result = (struct ipsecbpf_apply_result){ .serial = live.serial };
		goto out;
	}
	compiled.head.serial = live.serial + 1;
	err = switch_to(install, &compiled, !active);
	if (err)
		goto out;
	*ret_result = (struct ipsecbpf_apply_result){
		.changed = true,
		.serial = compiled.head.serial,
		.orphaned_sas = count_orphans(pins, &install->protections),
	};
	for (int dir = 0; dir < SPD_DIRECTION_COUNT; dir++)
		for (int family = 0; family < FAMILY_COUNT; family++)
			ret_result->entries += compiled.head.entries[dir][family];
out:
	policy_compiled_fini(&compiled);
	return err;
}

int policy_install(const struct pins *pins, const char *ifname, const struct policy *policy,
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
			.text = text,
			.report = report,
		};
		protections_init(&work->protections, pins, policy);
		err = install(work, ret_result);
		protections_fini(&work->protections);
	}
	if (!err && ret_result->orphaned_sas)
		report_warning(report, ifname,
			       "ipsecbpf sa flush, then ipsecbpf sa apply: they serve the new "
			       "definitions then",
			       "%u SAs belong to protections or peers that this policy defines "
			       "otherwise; they protect nothing now",
			       ret_result->orphaned_sas);
	if (err && !(report && report->errors))
		report_error(report, ifname, "the live policy is unchanged", "cannot apply: %s",
			     strerror(-err));
	free(work);
	free(text);
	return err;
}

int ipsecbpf_policy_apply(const char *ifname, const struct policy *policy,
			  struct ipsecbpf_apply_result *ret_result, struct ipsecbpf_report *report)
{
	struct pins pins;
	int err, lock = pins_open_locked(&pins, ifname, report);

	if (lock < 0)
		return lock;
	err = pins_check_nic(&pins, report);
	if (!err)
		err = policy_install(&pins, ifname, policy, ret_result, report);
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
