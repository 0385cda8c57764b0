// SPDX-License-Identifier: BSD-2-Clause
#include "app_live.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../bpf/spd_app.h"
#include "inner_map.h"
#include "policy_store.h"
#include "policy_trial.h"
#include "suggest.h"

#define TRIES 8		/* policy may be replaced while it is read: then all over again */

const char *app_traffic_name(unsigned int class)
{
	static const char *const names[] = {
		[TRAFFIC_PROTECTED] = "protected", [TRAFFIC_CLEAR] = "clear",
		[TRAFFIC_DROPPED] = "dropped",
	};

	return class < TRAFFIC_CLASSES ? names[class] : "unknown";
}

static void list_names(const struct policy *policy, char *out, size_t out_len)
{
	size_t len = (size_t)snprintf(out, out_len, "its applications are");

	for (size_t i = 0; i < policy->application_count; i++) {
		if (len + strlen(policy->applications[i].name) + sizeof(", \"\", ...") > out_len) {
			snprintf(out + len, out_len - len, ", ...");
			return;
		}
		len += (size_t)snprintf(out + len, out_len - len, "%s \"%s\"", i ? "," : "",
					policy->applications[i].name);
	}
}

size_t app_find(const struct policy *policy, const char *name, const char *object,
		struct ipsecbpf_report *report)
{
	struct suggest near = { .word = name };
	char next[512];

	for (size_t i = 0; i < policy->application_count; i++) {
		if (!strcmp(policy->applications[i].name, name))
			return i;
		suggest_offer(&near, policy->applications[i].name);
	}
	if (near.best)
		snprintf(next, sizeof(next), "did you mean \"%s\"?", near.best);
	else if (!policy->application_count)
		snprintf(next, sizeof(next), "its policy has no applications");
	else
		list_names(policy, next, sizeof(next));
	report_error(report, object, next, "there is no application \"%s\"", name);
	return SIZE_MAX;
}

/* ---- the policy in force -------------------------------------------------------------------- */

static void forget(struct app_live *live)
{
	if (live->snapshot)
		inner_map_close(live->snapshot);
	free(live->snapshot);
	live->snapshot = NULL;
	policy_free(live->policy);
	live->policy = NULL;
}

/* That of the serial, as it was kept or as it is in force. NULL and errno if there is none. */
static struct policy *take_policy(const struct app_live *live, struct app_live_policy *kept,
				  uint32_t serial)
{
	struct policy *policy = kept->policy;

	if (!policy || kept->serial != serial)
		return policy_read_live(&live->pins, NULL);
	kept->policy = NULL;
	return policy;
}

/* Text and snapshot of one policy, or -EAGAIN. */
static int read_once(struct app_live *live, struct app_live_policy *kept)
{
	uint32_t generation = policy_generation(&live->pins);
	struct inner_map *map = calloc(1, sizeof(*map));
	struct spd_head head;
	int err;

	live->generation = generation;
	live->snapshot = map;
	if (!map)
		return -ENOMEM;
	map->fd = -1;
	err = policy_read_head(&live->pins, generation, &head);
	if (err)
		return err;
	live->policy = take_policy(live, kept, head.serial);
	if (!live->policy)
		return errno == ENODATA ? -EAGAIN : -errno;
	err = inner_map_open(map, live->pins.spd_fd, generation, false);
	if (err)
		return err == -ENODATA ? -EAGAIN : err;
	live->cells = map->area;
	return live->cells->head.serial == head.serial &&
	       policy_generation(&live->pins) == generation ? 0 : -EAGAIN;
}

int app_live_reopen(struct app_live *live, const char *ifname, struct app_live_policy *kept,
		    struct ipsecbpf_report *report)
{
	int err;

	*live = (struct app_live){ 0 };
	err = pins_open(&live->pins, ifname, report);
	if (err)
		return err;
	err = -EAGAIN;
	for (int i = 0; err == -EAGAIN && i < TRIES; i++) {
		forget(live);
		err = read_once(live, kept);
	}
	if (err == -ENODATA)
		report_error(report, ifname, "ipsecbpf policy apply", "no policy is loaded");
	else if (err)
		report_error(report, ifname, NULL, "cannot read the policy in force: %s",
			     strerror(-err));
	if (err)
		app_live_close(live);
	return err;
}

int app_live_open(struct app_live *live, const char *ifname, struct ipsecbpf_report *report)
{
	return app_live_reopen(live, ifname, &(struct app_live_policy){ 0 }, report);
}

void app_live_forget(struct app_live_policy *kept)
{
	policy_free(kept->policy);
	*kept = (struct app_live_policy){ 0 };
}

void app_live_close_keep(struct app_live *live, struct app_live_policy *kept)
{
	app_live_forget(kept);
	*kept = (struct app_live_policy){ live->policy, live->cells->head.serial };
	live->policy = NULL;
	app_live_close(live);
}

void app_live_close(struct app_live *live)
{
	forget(live);
	pins_close(&live->pins);
}

/* ---- traffic -------------------------------------------------------------------------------- */

static void add(struct app_traffic *sum, const struct rule_count *count)
{
	sum->packets += count->packets;
	sum->bytes += count->bytes;
}

/* A rule that protects optionally has counted what it let pass in the clear as well. */
static void move_optional(struct app_info *info, const struct rule_count *optional)
{
	struct app_traffic *protected = &info->traffic[TRAFFIC_PROTECTED];

	add(&info->traffic[TRAFFIC_CLEAR], optional);
	protected->packets -= optional->packets < protected->packets ? optional->packets :
								       protected->packets;
	protected->bytes -= optional->bytes < protected->bytes ? optional->bytes :
								 protected->bytes;
}

void app_traffic_sum(const struct policy *policy, const struct rule_count *sums,
		     struct app_info *items)
{
	static const enum app_traffic_class classes[SPD_ACTION_COUNT] = {
		[SPD_BYPASS] = TRAFFIC_CLEAR,
		[SPD_DISCARD] = TRAFFIC_DROPPED,
		[SPD_PROTECT] = TRAFFIC_PROTECTED,
	};

	for (size_t i = policy->rule_count; i < policy->all_rule_count; i++) {
		const struct rule *rule = &policy->rules[i];

		add(&items[rule->application - 1].traffic[classes[rule->action]], &sums[i]);
	}
	for (size_t i = 0; i < policy->application_count; i++)
		move_optional(&items[i],
			      &sums[RULE_COUNT_OPTIONAL(policy->all_rule_count, i + 1)]);
}

/* -EAGAIN: another policy has come. */
static int read_traffic(const struct app_live *live, struct app_info *items)
{
	const struct policy *policy = live->policy;
	struct rule_count *sums;
	struct inner_map map;
	uint32_t slots;
	int err = inner_map_open(&map, live->pins.rule_counts_fd, live->generation, false);

	if (err)
		return err;
	err = rule_counts_sum(&map, &sums, &slots);
	inner_map_close(&map);
	if (err)
		return err;
	if (slots == RULE_COUNT_SLOTS(policy->all_rule_count, policy->application_count))
		app_traffic_sum(policy, sums, items);
	else
		err = -EAGAIN;
	free(sums);
	return err;
}

/* ---- connections and SAs -------------------------------------------------------------------- */

static void read_connections(const struct app_live *live, struct app_info *items)
{
	const struct spd_apps *apps = &live->cells[SPD_APPS_CELL].apps;
	char path[256];
	int fd;

	pin_map_path(&live->pins.paths, "app_usage", path, sizeof(path));
	fd = bpf_obj_get(path);
	if (fd < 0)
		return;
	for (uint32_t i = 0; i < apps->count && i < live->policy->application_count; i++) {
		const struct spd_app *app = (const struct spd_app *)
			(const void *)&live->cells[spd_app_cell(apps, i + 1)];

		if (bpf_map_lookup_elem(fd, &app->name_digest, &items[i].connections))
			items[i].connections = 0;
	}
	close(fd);
}

/* The map's value begins with who made the socket (struct app_endpoint of bpf/maps.h). */
static int read_endpoints(const struct app_live *live, struct app_info *items)
{
	struct app_endpoint_key key, *last = NULL;
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info), app;
	struct app_identity *value = NULL;
	char path[256];
	int fd;

	pin_map_path(&live->pins.paths, "app_endpoints", path, sizeof(path));
	fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len) && info.value_size >= sizeof(*value))
		value = calloc(1, info.value_size);
	for (; value && !bpf_map_get_next_key(fd, last, &key); last = &key) {
		app = bpf_map_lookup_elem(fd, &key, value) ? 0 : app_resolve(live->cells, value);
		if (app && app <= live->policy->application_count)
			items[app - 1].endpoints++;
	}
	close(fd);
	if (!value)
		return -ENOMEM;
	free(value);
	return 0;
}

static bool protects_by(const struct policy *policy, size_t app, const struct ipsecbpf_sa_info *sa)
{
	for (size_t i = policy->rule_count; i < policy->all_rule_count; i++) {
		const struct rule *rule = &policy->rules[i];

		if (rule->application == app + 1 && rule->action == SPD_PROTECT &&
		    rule->peer != PEER_NONE &&
		    !strcmp(policy->peers[rule->peer].name, sa->peer) &&
		    !strcmp(policy->protections[rule->protection].name, sa->protection))
			return true;
	}
	return false;
}

/* Without a supervisor there are none. */
static void count_sas(const struct app_live *live, struct app_info *items)
{
	struct ipsecbpf_sa_info *sas;
	size_t count;

	if (ipsecbpf_sa_list(live->pins.ifname, &sas, &count, NULL))
		return;
	for (size_t app = 0; app < live->policy->application_count; app++)
		for (size_t i = 0; i < count; i++)
			items[app].sas += protects_by(live->policy, app, &sas[i]);
	free(sas);
}

int app_live_list(const struct app_live *live, struct app_info **ret_items,
		  struct ipsecbpf_report *report)
{
	size_t count = live->policy->application_count;
	struct app_info *items = calloc(count + 1, sizeof(*items));
	int err = items ? read_traffic(live, items) : -ENOMEM;

	if (!err)
		err = read_endpoints(live, items);
	if (err) {
		report_error(report, live->pins.ifname, NULL,
			     "cannot read the counters of applications: %s", strerror(-err));
		free(items);
	} else {
		for (size_t i = 0; i < count; i++)
			items[i].name = live->policy->applications[i].name;
		read_connections(live, items);
		count_sas(live, items);
		*ret_items = items;
	}
	return err;
}
