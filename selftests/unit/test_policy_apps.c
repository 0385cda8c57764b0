// SPDX-License-Identifier: BSD-2-Clause
/*
 * Applications, compiled: what the snapshot decides is what their blocks say, no block changes what
 * another's packets or the host's meet, and who is which is found in cells as it is defined.
 * The judge is app_reference.h. SEED=n draws other policies, ROUNDS=n so many times as many.
 */
#include "policy_testing.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "app_reference.h"

#define SEED_DEFAULT 20261121
#define POLICIES     260
#define PACKETS	     4000	/* of each, from as many identities */
#define APPS	     6		/* most of a random policy */

static uint64_t base_seed, rounds;

/* ---- a policy that can be made again, but for one application ---- */

struct recipe {
	unsigned int host, table;	/* seeds */
	unsigned int app[APPS], patterns[APPS];
	bool absent[APPS];
};

struct subject {
	struct policy *policy;
	struct name_table table;
	struct app_patterns patterns;
	struct policy_compiled compiled;
	uint32_t place[APPS + 1];	/* in the recipe, of each application, from 1; 0: the host */
};

static struct recipe random_recipe(unsigned int from)
{
	struct recipe recipe;
	unsigned int count;

	seed = from;
	recipe = (struct recipe){ .host = (unsigned int)rand_r(&seed),
				  .table = (unsigned int)rand_r(&seed) };
	count = 1 + below(APPS);
	for (unsigned int i = 0; i < APPS; i++) {
		recipe.app[i] = (unsigned int)rand_r(&seed);
		recipe.patterns[i] = (unsigned int)rand_r(&seed);
		recipe.absent[i] = i >= count;
	}
	return recipe;
}

/* Two protections in transport mode, two peers more; some rules of the host are optional. */
static void furnish(struct policy *policy)
{
	static const char *const addresses[2][3] = {
		{ "10.0.0.3", "10.0.0.6", "fd00::3" }, { "10.0.0.4", "fd00::5", "fd00::" },
	};
	size_t first = policy->protection_count, peers = policy->peer_count;

	policy->protections = realloc(policy->protections, (first + 2) * sizeof(*policy->protections));
	policy->peers = realloc(policy->peers, (peers + 2) * sizeof(*policy->peers));
	for (size_t i = 0; i < 2; i++) {
		struct peer *peer = &policy->peers[peers + i];
		struct protection *protection = &policy->protections[first + i];

		*protection = (struct protection){ .mode = MODE_TRANSPORT };
		snprintf(protection->name, sizeof(protection->name), "direct%zu", i);
		*peer = (struct peer){ .addresses = { calloc(3, sizeof(struct address_range)), 3 } };
		snprintf(peer->name, sizeof(peer->name), "peer%zu", i);
		for (int k = 0; k < 3; k++)
			assert_true(address_parse(addresses[i][k], &peer->addresses.items[k], NULL));
	}
	policy->protection_count += 2;
	policy->peer_count += 2;
	for (size_t i = 0; i < policy->rule_count; i++)
		policy->rules[i].level = below(3) ? LEVEL_MANDATORY : LEVEL_OPTIONAL;
}

static int compile(struct subject *subject, struct ipsecbpf_report *report)
{
	const struct policy_compile_input input = {
		.policy = subject->policy,
		.ifname = "eth0",
		.protect_id = pair_id,
		.patterns = &subject->patterns,
	};

	return policy_compile(&input, &subject->compiled, report);
}

static void add_random_app(struct subject *subject, const struct recipe *recipe, uint32_t place)
{
	struct policy *policy = subject->policy;
	uint32_t app = (uint32_t)++policy->application_count;
	struct application *application = &policy->applications[app - 1];

	subject->place[app] = place + 1;
	seed = recipe->app[place];
	snprintf(application->name, sizeof(application->name), "app%u", place);
	random_application(application, policy);
	seed = recipe->patterns[place];
	for (unsigned int i = 1 + below(RANDOM_PATTERNS); i; i--)
		subject->patterns.items[subject->patterns.count++] = random_pattern(app, 3);
}

static void make(struct subject *subject, const struct recipe *recipe)
{
	*subject = (struct subject){ 0 };
	seed = recipe->host;
	subject->policy = random_policy();
	furnish(subject->policy);
	seed = recipe->table;
	subject->table = random_table();
	subject->policy->applications = calloc(APPS, sizeof(struct application));
	subject->patterns.items = calloc(APPS * RANDOM_PATTERNS, sizeof(struct app_pattern));
	for (uint32_t place = 0; place < APPS; place++)
		if (!recipe->absent[place])
			add_random_app(subject, recipe, place);
	assert_int_equal(policy_expand(subject->policy, &subject->table), 0);
	assert_int_equal(compile(subject, NULL), 0);
}

static void unmake(struct subject *subject)
{
	policy_compiled_fini(&subject->compiled);
	app_patterns_fini(&subject->patterns);
	random_table_fini(&subject->table);
	policy_free(subject->policy);
}

/* ---- the snapshot, searched as the hooks do ---- */

static struct test_packet any_packet(void)
{
	struct test_packet packet = random_packet();

	packet.proto_hidden = packet.later && packet.family == FAMILY_V6 && below(2);
	return packet;
}

static struct spd_query query_of(const struct test_packet *packet, const struct spd_head *head)
{
	bool icmp = packet->proto == 1 || packet->proto == 58;
	uint64_t upper = SPD_UPPER_FIELD(VLAN, packet->vlan) | SPD_UPPER_FIELD(DSCP, packet->dscp);

	if (!packet->proto_hidden)
		upper |= SPD_UPPER_FIELD(PROTO, packet->proto);
	if (!packet->later)
		upper |= SPD_UPPER_FIELD(LOCAL_PORT, icmp ? packet->icmp_type : packet->local_port) |
			 SPD_UPPER_FIELD(REMOTE_PORT,
					 icmp ? packet->icmp_code : packet->remote_port);
	return (struct spd_query){ .word = {
		[SPD_REMOTE_HI] = packet->remote.hi, [SPD_REMOTE_LO] = packet->remote.lo,
		[SPD_LOCAL_HI] = packet->local.hi, [SPD_LOCAL_LO] = packet->local.lo,
		[SPD_UPPER] = upper & head->upper_used,
	} };
}

static uint32_t tree_of(const struct test_packet *packet)
{
	enum spd_way way = packet->direction == SPD_IN ? SPD_WAY_IN :
			   packet->forwarded	       ? SPD_WAY_OUT_FORWARDED :
							 SPD_WAY_OUT_LOCAL;
	enum spd_shows shows = packet->proto_hidden ? SPD_SHOWS_ADDRESSES :
			       packet->later	    ? SPD_SHOWS_PROTO :
						      SPD_SHOWS_ALL;

	return SPD_TREE(way, packet->family, shows);
}

/* What is found there is a rule of that application's. */
static const struct spd_entry *search_app(const struct policy_compiled *compiled, uint32_t app,
					  const struct test_packet *packet, uint32_t *steps)
{
	const union spd_cell *cells = compiled->cells.items;
	struct spd_query query = query_of(packet, policy_head(compiled));
	const struct spd_entry *entry;
	struct spd_app at;
	uint32_t more;

	memcpy(&at, &cells[spd_app_cell(&cells[SPD_APPS_CELL].apps, app)], sizeof(at));
	entry = spd_search(cells, at.root[tree_of(packet)], packet->family, &query, &more);
	*steps += more;
	if (entry)
		assert_in_range(entry->rule, at.first_rule, at.first_rule + at.rules - 1);
	return entry;
}

static struct verdict verdict_of(const struct policy_compiled *compiled, uint32_t app,
				 const struct test_packet *packet)
{
	const struct spd_head *head = policy_head(compiled);
	const struct spd_entry *entry = NULL;
	uint32_t steps = 0;

	if (app)
		entry = search_app(compiled, app, packet, &steps);
	if (!entry)
		entry = search_app(compiled, 0, packet, &steps);
	assert_in_range(steps, 0, head->steps);
	if (!entry)
		return (struct verdict){ .action = head->default_action[packet->direction] };
	return (struct verdict){ entry->action, entry->level, entry->protect_id };
}

static bool same(struct verdict a, struct verdict b)
{
	return a.action == b.action && a.level == b.level && a.protect_id == b.protect_id;
}

/* ---- what blocks say ---- */

static void fail_at(const struct subject *subject, unsigned int from, uint32_t app,
		    const struct test_packet *packet)
{
	struct verdict found = verdict_of(&subject->compiled, app, packet);
	struct verdict expected = app_reference(subject->policy, &subject->table, app, packet);
	char remote[100];

	address_format(&(struct address_range){ packet->family, packet->remote, packet->remote },
		       remote, sizeof(remote));
	fail_msg("seed %u application %u: %s proto %u ports %u %u%s%s, direction %d: action %u level "
		 "%u id %u, expected %u %u %u", from, app, remote, packet->proto,
		 packet->local_port, packet->remote_port, packet->later ? " later" : "",
		 packet->proto_hidden ? " hidden" : "", packet->direction, found.action, found.level,
		 found.protect_id, expected.action, expected.level, expected.protect_id);
}

struct tally {
	unsigned int action[SPD_ACTION_COUNT], optional, mandatory, nobody, of_apps;
};

static void count(struct tally *tally, uint32_t app, struct verdict verdict)
{
	bool protect = verdict.action == SPD_PROTECT, optional = verdict.level == LEVEL_OPTIONAL;

	tally->action[verdict.action]++;
	tally->optional += protect && optional;
	tally->mandatory += protect && !optional;
	tally->nobody += protect && !verdict.protect_id;
	tally->of_apps += app != 0;
}

static void compare_with_reference(unsigned int from, struct tally *tally)
{
	struct recipe recipe = random_recipe(from);
	struct subject subject;

	make(&subject, &recipe);
	seed = from;
	for (int i = 0; i < PACKETS; i++) {
		struct app_identity who = random_identity(3);
		struct test_packet packet = any_packet();
		uint32_t app = app_resolve(subject.compiled.cells.items, &who);
		struct verdict expected;

		assert_int_equal(app, app_resolve_slowly(&subject.patterns, &who, NULL));
		expected = app_reference(subject.policy, &subject.table, app, &packet);
		if (!same(verdict_of(&subject.compiled, app, &packet), expected))
			fail_at(&subject, from, app, &packet);
		count(tally, app, expected);
	}
	unmake(&subject);
}

static void test_against_reference(void **state)
{
	struct tally tally = { 0 };
	uint64_t triples = rounds * POLICIES * PACKETS;

	(void)state;
	for (uint64_t i = 0; i < rounds * POLICIES; i++)
		compare_with_reference((unsigned int)(base_seed + i), &tally);
	/* Every kind is many. */
	for (int action = 0; action < SPD_ACTION_COUNT; action++)
		assert_in_range(tally.action[action], triples / 20, triples);
	assert_in_range(tally.optional, triples / 50, triples);
	assert_in_range(tally.mandatory, triples / 50, triples);
	assert_in_range(tally.nobody, triples / 200, triples);
	assert_in_range(tally.of_apps, triples / 3, triples * 9 / 10);
}

/* ---- nobody else's ---- */

enum edit { EDIT_NETWORKS, EDIT_DELETION, EDITS };

/* Whose packets are the same application's before and after meet the same. */
static void compare_edited(unsigned int from, unsigned int *compared)
{
	struct recipe recipe = random_recipe(from), edited = recipe;
	struct subject before, after;
	uint32_t changed = 0;

	while (recipe.absent[changed + 1] == false && changed + 2 < APPS && from & (1u << changed))
		changed++;
	if (from % EDITS == EDIT_DELETION)
		edited.absent[changed] = true;
	else
		edited.app[changed] ^= 0x5555;
	make(&before, &recipe);
	make(&after, &edited);
	seed = from;
	for (int i = 0; i < PACKETS; i++) {
		struct app_identity who = random_identity(3);
		struct test_packet packet = any_packet();
		uint32_t old = app_resolve(before.compiled.cells.items, &who);
		uint32_t new = app_resolve(after.compiled.cells.items, &who);

		if (before.place[old] == changed + 1)
			continue;
		assert_int_equal(before.place[old], after.place[new]);
		assert_true(same(verdict_of(&before.compiled, old, &packet),
				 verdict_of(&after.compiled, new, &packet)));
		(*compared)++;
	}
	unmake(&before);
	unmake(&after);
}

static void test_edits_stay_within(void **state)
{
	unsigned int compared = 0;

	(void)state;
	for (unsigned int i = 0; i < rounds * POLICIES / 2; i++)
		compare_edited((unsigned int)base_seed + i, &compared);
	assert_in_range(compared, rounds * POLICIES / 2 * PACKETS / 3, UINT32_MAX);
}

static struct spd_app app_of(const struct subject *subject, uint32_t app)
{
	const union spd_cell *cells = subject->compiled.cells.items;
	struct spd_app at;

	memcpy(&at, &cells[spd_app_cell(&cells[SPD_APPS_CELL].apps, app)], sizeof(at));
	return at;
}

/* What hooks know of an application beside its trees; its name's digest stays when others go. */
static void test_limits(void **state)
{
	struct recipe recipe = random_recipe(9), edited;
	struct subject before, after;
	size_t rule;

	(void)state;
	recipe.absent[0] = recipe.absent[1] = recipe.absent[2] = false;
	edited = recipe;
	edited.absent[0] = true;
	make(&before, &recipe);
	make(&after, &edited);
	rule = before.policy->rule_count;
	assert_int_equal(before.compiled.cells.items[SPD_APPS_CELL].apps.first % 2, 0);
	assert_int_equal(app_of(&before, 0).rules, rule);
	for (uint32_t app = 1; app <= 3; app++) {
		struct spd_app at = app_of(&before, app);

		assert_int_equal(at.first_rule, rule);
		assert_int_equal(at.optional_rate, before.policy->applications[app - 1].optional_rate);
		assert_int_equal(at.flows_max, before.policy->applications[app - 1].flows_max);
		assert_true(at.name_digest);
		if (app > 1)
			assert_int_equal(at.name_digest, app_of(&after, app - 1).name_digest);
		assert_true(at.name_digest != app_of(&after, app).name_digest);
		rule += at.rules;
	}
	unmake(&before);
	unmake(&after);
}

/* Other addresses for names are seen by those who name them; the old ones bring the old cells back. */
static void test_names_change(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 50; i++) {
		struct recipe recipe = random_recipe((unsigned int)base_seed + i);
		struct subject subject, again;

		make(&subject, &recipe);
		make(&again, &recipe);
		policy_compiled_fini(&again.compiled);
		assert_int_equal(policy_expand(again.policy, NULL), 0);
		assert_int_equal(policy_expand(again.policy, &again.table), 0);
		assert_int_equal(policy_expand(again.policy, &again.table), 0);
		assert_int_equal(compile(&again, NULL), 0);
		assert_int_equal(subject.compiled.cells.count, again.compiled.cells.count);
		assert_memory_equal(subject.compiled.cells.items, again.compiled.cells.items,
				    again.compiled.cells.count * sizeof(union spd_cell));
		unmake(&subject);
		unmake(&again);
	}
}

/* ---- the rules that they come to ---- */

#define APP_POLICY_HEAD								\
	"{\"version\":1,\"bypass_essential\":[],\"accept_risk\":[\"no-arp\"],"	\
	"\"defaults\":{\"in\":\"discard\",\"out\":\"discard\",\"non_ip\":\"discard\"},"	\
	"\"protections\":{\"wire\":{},\"vpn\":{\"mode\":\"tunnel\"}},"		\
	"\"peers\":{\"b\":{\"addresses\":[\"10.0.0.2\",\"fd00::2\"]},"		\
	"\"c\":{\"addresses\":[\"10.0.0.3\"]}},\"rules\":[],\"applications\":[\n"

/* One line for each rule, but the file's. malloc'd. */
static char *rules_text(const struct policy *policy)
{
	static const char *const directions[] = { "both", "in", "out" };
	static const char *const actions[] = {
		[SPD_BYPASS] = "bypass", [SPD_DISCARD] = "discard", [SPD_PROTECT] = "protect",
	};
	char *text = NULL, one[100];
	size_t len;
	FILE *out = open_memstream(&text, &len);

	for (size_t i = policy->rule_count; i < policy->all_rule_count; i++) {
		const struct rule *rule = &policy->rules[i];

		fprintf(out, "%zu:%u %s %s %s", rule->application, rule->at.line, rule->name,
			directions[rule->direction], actions[rule->action]);
		if (rule->action == SPD_PROTECT)
			fprintf(out, " %s %s", rule->peer == PEER_NONE ? "nobody" :
				policy->peers[rule->peer].name,
				rule->level == LEVEL_OPTIONAL ? "optional" : "mandatory");
		for (size_t k = 0; k < rule->remote.count; k++) {
			address_format(&rule->remote.items[k], one, sizeof(one));
			fprintf(out, " %s", one);
		}
		for (size_t k = 0; k < rule->local_port.count; k++)
			fprintf(out, " :%u", rule->local_port.items[k].lo);
		fputc('\n', out);
	}
	fclose(out);
	return text;
}

static void assert_rules(const struct policy *policy, const char *expected)
{
	char *text = rules_text(policy);

	assert_string_equal(text, expected);
	free(text);
}

static void test_rules(void **state)
{
	static const char text[] = APP_POLICY_HEAD
		"{\"name\":\"a\",\"match\":{\"user\":0},\"networks\":[\n"
		"{\"remote\":\"192.0.2.0/24\",\"class\":\"trusted\"},\n"
		"{\"remote\":\"198.51.100.1\",\"class\":\"untrusted\"},\n"
		"{\"remote\":[\"10.0.0.0/8\",\"fd00::/64\"],\"class\":\"protected\",\"protect\":[\n"
		"{\"protocol\":\"tcp\",\"local_port\":21,\"protection\":\"wire\"},\n"
		"{\"protocol\":\"tcp\",\"local_port\":22,\"protection\":\"wire\",\"peer\":\"c\","
		"\"in\":\"request\",\"out\":\"none\"},\n"
		"{\"protocol\":\"udp\",\"peer\":\"b\",\"protection\":\"vpn\"}]}]},\n"
		"{\"name\":\"b\",\"match\":{\"user\":1},\"default\":\"discard\",\"networks\":[\n"
		"{\"remote\":\"10.0.0.0/30\",\"class\":\"protected\",\"protect\":[\n"
		"{\"protection\":\"wire\"}]},\n"
		"{\"remote\":\"any\",\"class\":\"protected\",\"protect\":[\n"
		"{\"protection\":\"wire\",\"in\":\"request\",\"out\":\"request\"}]}]}]}";
	struct policy *policy = parse_good(text);

	(void)state;
	assert_rules(policy,
		     "1:3 a/1 both bypass 192.0.2.0/24\n"
		     "1:4 a/2 both discard 198.51.100.1\n"
		     "1:6 a/3/1 both protect b mandatory 10.0.0.2 fd00::2 :21\n"
		     "1:6 a/3/1 both protect c mandatory 10.0.0.3 :21\n"
		     "1:6 a/3/1 both discard 10.0.0.0/8 fd00::/64 :21\n"
		     "1:7 a/3/2 in protect c optional 10.0.0.3 :22\n"
		     "1:7 a/3/2 out bypass 10.0.0.3 :22\n"
		     "1:7 a/3/2 in protect nobody optional 10.0.0.0/8 fd00::/64 :22\n"
		     "1:7 a/3/2 out bypass 10.0.0.0/8 fd00::/64 :22\n"
		     "1:8 a/3/3 both protect b mandatory 10.0.0.0/8 fd00::/64\n"
		     "1:5 a/3 both discard 10.0.0.0/8 fd00::/64\n"
		     "2:11 b/1/1 both protect b mandatory 10.0.0.2\n"
		     "2:11 b/1/1 both protect c mandatory 10.0.0.3\n"
		     "2:10 b/1 both discard 10.0.0.0/30\n"
		     "2:13 b/2/1 both protect b optional 10.0.0.2 fd00::2\n"
		     "2:13 b/2/1 both protect c optional 10.0.0.3\n"
		     "2:13 b/2/1 both protect nobody optional\n"
		     "2:9 b/default both discard\n");
	policy_free(policy);
}

static void test_names(void **state)
{
	static const char text[] = APP_POLICY_HEAD
		"{\"name\":\"a\",\"match\":{\"user\":0},\"networks\":["
		"{\"remote\":[\"two.example\",\"192.0.2.0/25\",\"one.example\"],\"class\":\"trusted\"},"
		"{\"remote\":\"ONE.example\",\"class\":\"untrusted\"}]}]}";
	struct address_range addresses[3];
	struct name_addresses items[] = {
		{ .name = (char[]){ "one.example" }, .addresses = { &addresses[0], 2 } },
		{ .name = (char[]){ "two.example" }, .addresses = { &addresses[2], 1 } },
	};
	const struct name_table table = { items, 2 };
	struct policy *policy = parse_good(text);
	const char **names;
	size_t count;

	(void)state;
	assert_true(address_parse("192.0.2.128", &addresses[0], NULL));
	assert_true(address_parse("2001:db8::1", &addresses[1], NULL));
	assert_true(address_parse("198.51.100.7", &addresses[2], NULL));
	assert_rules(policy, "1:2 a/1 both bypass 192.0.2.0/25\n");
	assert_int_equal(policy_expand(policy, &table), 0);
	assert_rules(policy, "1:2 a/1 both bypass 192.0.2.0-192.0.2.128 198.51.100.7 2001:db8::1\n"
			     "1:2 a/2 both discard 192.0.2.128 2001:db8::1\n");
	assert_int_equal(policy_expand(policy, NULL), 0);
	assert_rules(policy, "1:2 a/1 both bypass 192.0.2.0/25\n");
	assert_int_equal(policy_names(policy, &names, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(strcasecmp(names[0], "one.example"), 0);
	assert_string_equal(names[1], "two.example");
	free(names);
	policy_free(policy);
}

/* A block that is wrong, and nobody else is blamed: the policy is refused whole, nothing changes. */
static void test_invalid_block(void **state)
{
	static const char text[] = APP_POLICY_HEAD
		"{\"name\":\"good\",\"match\":{\"user\":0},\"networks\":[]},\n"
		"{\"name\":\"wrong\",\"match\":{\"user\":1},\"networks\":[{\"remote\":\"any\","
		"\"class\":\"protected\",\"protect\":[{\"protection\":\"none\"}]}]}]}";
	struct ipsecbpf_report report = { 0 };
	char *said;

	(void)state;
	assert_null(policy_parse(text, strlen(text), "test.json", &report));
	assert_int_equal(errno, EINVAL);
	said = report_text(&report);
	assert_non_null(strstr(said, "wrong"));
	assert_null(strstr(said, "good"));
	free(said);
	report_fini(&report);
}

/* What is mandatory is needed, what is optional, or could never be, is not. */
static void test_needs(void **state)
{
	static const char text[] = APP_POLICY_HEAD
		"{\"name\":\"a\",\"match\":{\"user\":0},\"networks\":[{\"remote\":\"10.0.0.0/24\","
		"\"class\":\"protected\",\"protect\":["
		"{\"protocol\":\"tcp\",\"peer\":\"b\",\"protection\":\"wire\",\"in\":\"request\"},"
		"{\"peer\":\"c\",\"protection\":\"wire\",\"in\":\"request\",\"out\":\"request\"}]}]}]}";
	struct policy *policy = parse_good(text);
	struct policy_need *needs;
	size_t count;

	(void)state;
	assert_int_equal(policy_needs(policy, "eth0", &needs, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(needs[0].pair.peer, 0);
	assert_false(needs[0].needed[SPD_IN]);
	assert_true(needs[0].needed[SPD_OUT]);
	free(needs);
	policy_free(policy);
}

static uint64_t environment(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);

	return value && *value ? strtoull(value, NULL, 10) : otherwise;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_reference),
		cmocka_unit_test(test_edits_stay_within),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_names_change),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_invalid_block),
		cmocka_unit_test(test_needs),
	};

	base_seed = environment("SEED", SEED_DEFAULT);
	rounds = environment("ROUNDS", 1);
	printf("test_policy_apps: SEED=%" PRIu64 " ROUNDS=%" PRIu64 "\n", base_seed, rounds);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
