// SPDX-License-Identifier: BSD-2-Clause
#include "app_reach.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app_identity.h"
#include "ipsecbpf.h"
#include "net_others.h"

/* ---- packets --------------------------------------------------------------------------------- */

static void find_beside(const char *ifname, struct app_reach *reach)
{
	size_t count = 0;
	char **names;

	if (ipsecbpf_list(&names, &count))
		return;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(names[i], ifname) != 0)
			snprintf(reach->beside, sizeof(reach->beside), "%s", names[i]);
		free(names[i]);
	}
	free(names);
}

void app_reach_read(const char *ifname, uint32_t ifindex, struct app_reach *ret_reach)
{
	struct app_reach reach = { 0 };

	if (net_master_read(ifindex, reach.above))
		reach.above[0] = '\0';
	if (!reach.above[0] && net_upper_read(ifindex, reach.above))
		reach.above[0] = '\0';
	find_beside(ifname, &reach);
	*ret_reach = reach;
}

static void warn_of_nic(const struct pins *pins, struct ipsecbpf_report *report)
{
	struct app_reach reach;

	app_reach_read(pins->ifname, pins->attachment.ifindex, &reach);
	if (reach.above[0])
		report_warning(report, pins->ifname,
			       "give the NIC itself this host's addresses, or protect by rules of the "
			       "host's",
			       "%s lies above it: what SAs have verified, sockets get from there, "
			       "and those of applications drop it (unverified)", reach.above);
	if (reach.beside[0])
		report_warning(report, pins->ifname,
			       "put each NIC into a network namespace of its own, or protect by "
			       "rules of the host's",
			       "%s is attached beside it: what its SAs have verified, sockets of "
			       "the applications drop (unverified)", reach.beside);
}

/* ---- programs -------------------------------------------------------------------------------- */

/* Are all processes of that match in the cgroup, which is a path below the root of cgroup2? */
static bool is_within(const struct app_match *match, const char *cgroup)
{
	size_t len = strlen(cgroup);

	return match->cgroup && !strncmp(match->cgroup, cgroup, len) &&
	       (match->cgroup[len] == '/' || !match->cgroup[len]);
}

static bool is_reached(const struct application *application, const char *cgroup)
{
	for (size_t i = 0; i < application->match_count; i++)
		if (!is_within(&application->matches[i], cgroup))
			return false;
	return true;
}

static void warn_of_cgroup(const struct pins *pins, const struct policy *policy,
			   struct ipsecbpf_report *report)
{
	const char *cgroup = pins->attachment.cgroup;
	struct ipsecbpf_report quiet = { 0 };
	const char *first = NULL;
	char mount[ATTACH_CGROUP_LEN];
	size_t count = 0, len;
	int err = app_cgroup_mount(mount, sizeof(mount), &quiet);

	report_fini(&quiet);
	len = err ? 0 : strlen(mount);
	if (err || strncmp(cgroup, mount, len) || cgroup[len] != '/')
		return;
	for (size_t i = 0; i < policy->application_count; i++) {
		const struct application *application = &policy->applications[i];

		if (is_reached(application, cgroup + len))
			continue;
		first = first ? first : application->name;
		count++;
	}
	if (count)
		report_warning(report, cgroup,
			       "attach without --cgroup, or name a cgroup below it in each match",
			       "%zu applications (the first: \"%s\") may run outside of this cgroup, "
			       "where no program is known for one: such go by the host's rules",
			       count, first);
}

void app_reach_warn(const struct pins *pins, const struct policy *policy,
		    struct ipsecbpf_report *report)
{
	if (!policy->application_count)
		return;
	warn_of_nic(pins, report);
	warn_of_cgroup(pins, policy, report);
}
