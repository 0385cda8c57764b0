// SPDX-License-Identifier: BSD-2-Clause
/*
 * Who is which application: the order of what matches, that cells say what the definition says, and
 * what users, groups and programs of this host are.
 */
#include "policy_testing.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app_reference.h"
#include "lib/app_identity.h"

#define MANY	   APPS_MAX
#define NETWORKS   5
#define IDENTITIES 3000

/* ---- the order ---- */

static uint32_t resolve(const struct app_patterns *patterns, const struct app_identity *who)
{
	struct spd_cells cells = { 0 };
	struct spd_apps apps = { 0 };
	uint32_t app;

	assert_int_equal(spd_cells_add(&cells, SPD_FIRST_FREE_CELL), 0);
	cells.items[0].head.apps = 1;
	assert_int_equal(app_patterns_build(patterns, &cells, &apps), 0);
	cells.items[SPD_APPS_CELL].apps = apps;
	app = app_resolve(cells.items, who);
	assert_int_equal(app, app_resolve_slowly(patterns, who, NULL));
	spd_cells_fini(&cells);
	return app;
}

/* From the most specific to the least; each is taken away once it has won. */
static void test_order(void **state)
{
	const struct app_identity who = {
		.cgroup = { 11, 12, 13 }, .unit = 92, .unit_level = 2, .exe = 5, .uid = 6, .gid = 7,
	};
	struct app_pattern items[] = {
		{ .who = who, .cgroup_level = 3, .shape = SPD_MATCH_GID },
		{ .who = who, .cgroup_level = 3 },
		{ .who = who, .cgroup_level = 2, .shape = SPD_MATCH_EXE },
		{ .who = who, .cgroup_level = 2 },
		{ .who = who, .unit = true, .shape = SPD_MATCH_EXE | SPD_MATCH_UID },
		{ .who = who, .unit = true },
		{ .who = who, .cgroup_level = 1, .shape = 7 },
		{ .who = who, .shape = 7 },
		{ .who = who, .shape = SPD_MATCH_EXE | SPD_MATCH_UID },
		{ .who = who, .shape = SPD_MATCH_EXE | SPD_MATCH_GID },
		{ .who = who, .shape = SPD_MATCH_EXE },
		{ .who = who, .shape = SPD_MATCH_UID | SPD_MATCH_GID },
		{ .who = who, .shape = SPD_MATCH_UID },
		{ .who = who, .shape = SPD_MATCH_GID },
		{ .who = who, .shape = SPD_MATCH_GID },	/* of equals the first */
	};
	size_t count = sizeof(items) / sizeof(*items);
	struct app_patterns patterns = { calloc(count, sizeof(*items)), 0 };

	(void)state;
	for (size_t first = 0; first < count - 1; first++) {
		patterns.count = 0;
		for (size_t i = count; i-- > first;) {
			/* In the file the others come before; of the two that are equal, 14 does. */
			items[i].app = (uint32_t)(i == count - 1 ? count - 1 : i + 1);
			patterns.items[patterns.count++] = items[i];
		}
		assert_int_equal(resolve(&patterns, &who), first + 1);
	}
	app_patterns_fini(&patterns);
}

static void test_equal_matches(void **state)
{
	const struct app_identity who = { .uid = 6 };
	struct app_pattern items[] = {
		{ .who = who, .shape = SPD_MATCH_UID, .app = 3 },
		{ .who = who, .shape = SPD_MATCH_UID, .app = 4 },
	};
	const struct app_patterns patterns = { items, 2 };

	(void)state;
	assert_int_equal(resolve(&patterns, &who), 3);
}

/* What is not known of an identity is not asked for, and is nobody's. */
static void test_unknown(void **state)
{
	const struct app_identity nothing = { .uid = 6 }, deep = { .unit = 9, .unit_level = 9 };
	struct app_pattern items[] = {
		{ .shape = SPD_MATCH_EXE, .app = 1 },
		{ .cgroup_level = 1, .who.cgroup = { 5 }, .app = 2 },
		{ .unit = true, .who.unit = 9, .app = 3 },
	};
	const struct app_patterns patterns = { items, 3 };

	(void)state;
	assert_int_equal(resolve(&patterns, &nothing), 0);
	assert_int_equal(resolve(&patterns, &deep), 0);
}

/* So many that with most seeds some bucket is too full. */
static void test_buckets(void **state)
{
	const uint32_t count = 60000;
	struct app_patterns patterns = { calloc(count, sizeof(*patterns.items)), count };
	struct spd_cells cells = { 0 };
	struct spd_apps apps = { 0 };

	(void)state;
	for (uint32_t i = 0; i < count; i++)
		patterns.items[i] = (struct app_pattern){
			.who.uid = i, .shape = SPD_MATCH_UID, .app = i + 1,
		};
	assert_int_equal(spd_cells_add(&cells, SPD_FIRST_FREE_CELL), 0);
	assert_int_equal(app_patterns_build(&patterns, &cells, &apps), 0);
	cells.items[0].head.apps = count;
	cells.items[SPD_APPS_CELL].apps = apps;
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(app_resolve(cells.items,
					     &(struct app_identity){ .uid = i }), i + 1);
	assert_int_equal(app_resolve(cells.items, &(struct app_identity){ .uid = count }), 0);
	spd_cells_fini(&cells);
	/* There is a limit to what a snapshot holds. */
	cells.limit = SPD_FIRST_FREE_CELL + 16;
	assert_int_equal(spd_cells_add(&cells, SPD_FIRST_FREE_CELL), 0);
	assert_int_equal(app_patterns_build(&patterns, &cells, &apps), -E2BIG);
	spd_cells_fini(&cells);
	app_patterns_fini(&patterns);
}

/* ---- 10,000 applications ---- */

static struct address_list one_range(const char *text)
{
	struct address_list list = { calloc(1, sizeof(*list.items)), 1 };

	assert_true(address_parse(text, list.items, NULL));
	return list;
}

/* Most have networks of their own, as hosts that serve many tenants do. */
static void many_networks(struct application *application, uint32_t app)
{
	application->network_count = NETWORKS;
	application->networks = calloc(NETWORKS, sizeof(*application->networks));
	for (uint32_t i = 0; i < NETWORKS; i++) {
		struct app_network *network = &application->networks[i];
		char text[64];

		if (i % 2)
			snprintf(text, sizeof(text), "2001:db8:%x:%x::/64", app, i);
		else
			snprintf(text, sizeof(text), "10.%u.%u.0/24", (app + i) % 256, app / 256 + i);
		network->class = i == 1 ? APP_TRUSTED : i == 2 ? APP_UNTRUSTED : APP_PROTECTED;
		network->remote = one_range(text);
		if (network->class != APP_PROTECTED)
			continue;
		network->protect_count = 1;
		network->protect = calloc(1, sizeof(*network->protect));
		*network->protect = (struct app_protect){
			.protocols = calloc(1, 1), .protocol_count = 1,
			.demand = { DEMAND_REQUIRE, DEMAND_REQUIRE },
			.peers = calloc(1, sizeof(size_t)), .peer_count = 1,
		};
		network->protect->protocols[0] = 6;
	}
}

static struct policy *many_applications(struct app_patterns *patterns)
{
	static const char text[] = POLICY_HEAD
		"{\"name\":\"host\",\"local\":\"10.0.0.0/8\",\"protocol\":\"tcp\",\"local_port\":22,"
		"\"action\":\"bypass\"}" POLICY_TAIL;
	struct policy *policy = parse_good(text);

	policy->protections[0].mode = MODE_TUNNEL;
	policy->applications = calloc(MANY, sizeof(*policy->applications));
	policy->application_count = MANY;
	patterns->items = calloc(3 * MANY, sizeof(*patterns->items));
	for (uint32_t app = 1; app <= MANY; app++) {
		struct application *application = &policy->applications[app - 1];

		snprintf(application->name, sizeof(application->name), "app%u", app);
		many_networks(application, app);
		for (int i = 0; i < 3; i++)
			patterns->items[patterns->count++] = random_pattern(app, MANY);
	}
	return policy;
}

static void test_many(void **state)
{
	struct app_patterns patterns = { 0 };
	struct policy_compile_input input = {
		.ifname = "eth0", .protect_id = pair_id, .patterns = &patterns,
	};
	struct policy_compiled compiled;
	struct policy *policy;
	unsigned int found = 0;

	(void)state;
	seed = 5;
	input.policy = policy = many_applications(&patterns);
	assert_int_equal(policy_expand(policy, NULL), 0);
	assert_int_equal(policy_compile(&input, &compiled, NULL), 0);
	assert_int_equal(policy_head(&compiled)->apps, MANY);
	for (int i = 0; i < IDENTITIES; i++) {
		struct app_identity who = random_identity(MANY);
		uint32_t app;

		if (i % 2)	/* of somebody */
			who = patterns.items[below((unsigned int)patterns.count)].who;
		app = app_resolve(compiled.cells.items, &who);
		assert_int_equal(app, app_resolve_slowly(&patterns, &who, NULL));
		found += app != 0;
	}
	assert_in_range(found, IDENTITIES / 2, IDENTITIES);
	/* Nothing but the buckets and their own cells depends on how many there are. */
	assert_in_range(compiled.cells.items[SPD_APPS_CELL].apps.bucket_mask + 1, MANY, 16 * MANY);
	policy_compiled_fini(&compiled);
	app_patterns_fini(&patterns);
	policy_free(policy);
}

/* ---- this host ---- */

static const struct attachment seeded = { .digest_seed = { 7, 9 } };

static int init_one(struct app_match match, struct app_patterns *ret_patterns, char **ret_said)
{
	struct application application = { .name = "ftp", .matches = &match, .match_count = 1 };
	const struct policy policy = {
		.origin = (char[]){ "test.json" }, .applications = &application,
		.application_count = 1,
	};
	struct ipsecbpf_report report = { 0 };
	int err = app_patterns_init(ret_patterns, &policy, &seeded, &report);

	*ret_said = report_text(&report);
	report_fini(&report);
	return err;
}

static struct app_pattern pattern_of(struct app_match match)
{
	struct app_patterns patterns;
	struct app_pattern pattern;
	char *said;

	assert_int_equal(init_one(match, &patterns, &said), 0);
	assert_string_equal(said, "errors: 0\n");
	assert_int_equal(patterns.count, 1);
	pattern = patterns.items[0];
	assert_int_equal(pattern.app, 1);
	app_patterns_fini(&patterns);
	free(said);
	return pattern;
}

static void assert_refused(struct app_match match, const char *cause)
{
	struct app_patterns patterns;
	char *said;

	assert_int_equal(init_one(match, &patterns, &said), -EINVAL);
	if (!strstr(said, cause) || !strstr(said, "application \"ftp\""))
		fail_msg("%s\nis not: %s", said, cause);
	assert_null(patterns.items);
	free(said);
}

static char *text_of(const char *text)
{
	static char kept[4][4200];
	static unsigned int next;
	char *one = kept[next++ % 4];

	snprintf(one, sizeof(kept[0]), "%s", text);
	return one;
}

static void test_users(void **state)
{
	struct passwd *user = getpwnam("daemon");
	struct group *group = getgrnam("daemon");
	struct app_pattern pattern;
	uint32_t uid, gid;

	(void)state;
	if (!user || !group)
		skip();
	uid = user->pw_uid;
	gid = group->gr_gid;
	pattern = pattern_of((struct app_match){ .user = text_of("daemon") });
	assert_int_equal(pattern.shape, SPD_MATCH_UID);
	assert_int_equal(pattern.who.uid, uid);
	pattern = pattern_of((struct app_match){ .user = text_of("4711"), .group = text_of("daemon") });
	assert_int_equal(pattern.shape, SPD_MATCH_UID | SPD_MATCH_GID);
	assert_int_equal(pattern.who.uid, 4711);
	assert_int_equal(pattern.who.gid, gid);
	assert_refused((struct app_match){ .user = text_of("no-such-user") },
		       "there is no user \"no-such-user\" on this host");
	assert_refused((struct app_match){ .group = text_of("no-such-group") },
		       "there is no group \"no-such-group\" on this host");
}

/* In a user namespace that maps nothing; its failures are an exit status. */
static void test_unmapped(void **state)
{
	struct app_match match = { .user = text_of("4711") };
	struct app_patterns patterns;
	int status;
	pid_t child = fork();

	(void)state;
	if (!child) {
		char *said;

		if (unshare(CLONE_NEWUSER))
			_exit(77);
		_exit(init_one(match, &patterns, &said) != -EINVAL ||
		      !strstr(said, "(4711) does not exist outside this user namespace"));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("skipped: no user namespaces here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* A link is what it points to; one that is not there yet is known by its path. */
static void test_executables(void **state)
{
	char directory[] = "/tmp/policy_match.XXXXXX", path[64], link[64];
	struct app_pattern real, linked, missing;
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/server", directory);
	snprintf(link, sizeof(link), "%s/link", directory);
	missing = pattern_of((struct app_match){ .exe = path });
	file = fopen(path, "we");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(symlink(path, link), 0);
	real = pattern_of((struct app_match){ .exe = path });
	linked = pattern_of((struct app_match){ .exe = link });
	assert_int_equal(real.shape, SPD_MATCH_EXE);
	assert_true(real.who.exe && real.who.exe == linked.who.exe &&
		    real.who.exe == missing.who.exe);
	assert_int_equal(unlink(link), 0);
	assert_int_equal(unlink(path), 0);
	assert_refused((struct app_match){ .exe = directory }, "it is a directory");
	assert_int_equal(rmdir(directory), 0);
	assert_refused((struct app_match){ .exe = path }, "neither it nor its directory exists");
}

static void test_cgroups(void **state)
{
	struct app_identity who = { 0 };
	struct app_pattern pattern;

	(void)state;
	assert_int_equal(app_identity_cgroup(&who, "/system.slice/vsftpd.service/sub",
					     (const uint64_t[]){ 7, 9 }), 0);
	pattern = pattern_of((struct app_match){ .cgroup = text_of("/system.slice/vsftpd.service") });
	assert_int_equal(pattern.cgroup_level, 2);
	assert_int_equal(resolve(&(struct app_patterns){ &pattern, 1 }, &who), 1);
	pattern = pattern_of((struct app_match){ .unit = text_of("vsftpd.service") });
	assert_true(pattern.unit);
	assert_int_equal(pattern.shape, 0);
	assert_int_equal(resolve(&(struct app_patterns){ &pattern, 1 }, &who), 1);
	pattern = pattern_of((struct app_match){ .cgroup = text_of("/system.slice/vsftpd.service/x") });
	assert_int_equal(resolve(&(struct app_patterns){ &pattern, 1 }, &who), 0);
	assert_refused((struct app_match){ .cgroup = text_of("/") }, "every process is in the root");
	assert_refused((struct app_match){ .cgroup = text_of("/1/2/3/4/5/6/7/8/9") },
		       "is deeper than 8 levels");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_equal_matches),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_buckets),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_unmapped),
		cmocka_unit_test(test_executables),
		cmocka_unit_test(test_cgroups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
