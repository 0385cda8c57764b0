// SPDX-License-Identifier: BSD-2-Clause
/* JSON text -> struct policy_tests. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_json.h"
#include "policy_test.h"

#define DEFAULT_INTERFACE "eth0"

/* A test being read. */
struct test_reading {
	struct policy_test *test;
	unsigned int given;		/* bits of enum packet_given */
	enum ip_family src_family, dst_family;
	bool peer, action;
};

/* ---- packets ------------------------------------------------------------------------------- */

static void read_one_address(struct json_reader *reader, struct json_value value,
			     union wire_addr *ret_addr, enum ip_family *ret_family)
{
	const char *text = json_read_string(reader, value), *error;
	struct address_range range;

	if (!text)
		return;
	if (!address_parse(text, &range, &error)) {
		json_error(reader, value, NULL, "\"%.100s\": %s", text, error);
		return;
	}
	if (addr128_compare(range.lo, range.hi)) {
		json_error(reader, value, NULL, "\"%.100s\": a packet has one address here", text);
		return;
	}
	*ret_family = (enum ip_family)range.family;
	*ret_addr = addr128_to_wire(range.family, range.lo);
}

static void read_src(struct json_reader *reader, struct json_value value, void *target)
{
	struct test_reading *reading = target;

	reading->given |= GIVEN_SRC;
	read_one_address(reader, value, &reading->test->spec.src, &reading->src_family);
}

static void read_dst(struct json_reader *reader, struct json_value value, void *target)
{
	struct test_reading *reading = target;

	reading->given |= GIVEN_DST;
	read_one_address(reader, value, &reading->test->spec.dst, &reading->dst_family);
}

static void read_protocol(struct json_reader *reader, struct json_value value, void *target)
{
	struct test_reading *reading = target;

	reading->given |= GIVEN_PROTOCOL;
	policy_read_protocol(reader, value, &reading->test->spec.proto);
}

static void read_src_port(struct json_reader *reader, struct json_value value, void *target)
{
	struct test_reading *reading = target;
	json_int_t number;

	reading->given |= GIVEN_SRC_PORT;
	if (json_read_integer(reader, value, 0, UINT16_MAX, &number))
		reading->test->spec.src_port = (uint16_t)number;
}

static void read_dst_port(struct json_reader *reader, struct json_value value, void *target)
{
	struct test_reading *reading = target;
	json_int_t number;

	reading->given |= GIVEN_DST_PORT;
	if (json_read_integer(reader, value, 0, UINT16_MAX, &number))
		reading->test->spec.dst_port = (uint16_t)number;
}

static void read_icmp_type(struct json_reader *reader, struct json_value value, void *target)
{
	struct test_reading *reading = target;
	json_int_t number;

	reading->given |= GIVEN_ICMP_TYPE;
	if (json_read_integer(reader, value, 0, UINT8_MAX, &number))
		reading->test->spec.icmp_type = (uint8_t)number;
}

static void read_icmp_code(struct json_reader *reader, struct json_value value, void *target)
{
	struct test_reading *reading = target;
	json_int_t number;

	reading->given |= GIVEN_ICMP_CODE;
	if (json_read_integer(reader, value, 0, UINT8_MAX, &number))
		reading->test->spec.icmp_code = (uint8_t)number;
}

static void read_spi(struct json_reader *reader, struct json_value value, void *target)
{
	struct test_reading *reading = target;
	json_int_t number;

	reading->given |= GIVEN_SPI;
	if (json_read_integer(reader, value, 1, UINT32_MAX, &number))
		reading->test->spec.spi = (uint32_t)number;
}

static void read_vlan(struct json_reader *reader, struct json_value value, void *target)
{
	struct test_reading *reading = target;
	json_int_t number;

	if (json_read_integer(reader, value, 0, VLAN_ID_MAX, &number))
		reading->test->spec.vlan = (uint16_t)number;
}

static void read_dscp(struct json_reader *reader, struct json_value value, void *target)
{
	struct test_reading *reading = target;

	reading->given |= GIVEN_DSCP;
	policy_read_dscp(reader, value, &reading->test->spec.dscp);
}

/* Below 1536 the field is a length (IEEE 802.3 3.2.6); IP is described by its addresses. */
static void read_ethertype(struct json_reader *reader, struct json_value value, void *target)
{
	static const uint16_t unfit[] = { 0x0800, 0x86dd, 0x8100, 0x88a8 };
	struct test_reading *reading = target;
	json_int_t number;

	reading->given |= GIVEN_ETHERTYPE;
	if (!json_read_integer(reader, value, 1536, UINT16_MAX, &number))
		return;
	for (size_t i = 0; i < sizeof(unfit) / sizeof(unfit[0]); i++)
		if (number == unfit[i])
			json_error(reader, value, NULL, "is for frames without IP: give src and dst, "
				   "or vlan, instead");
	reading->test->spec.ethertype = (uint16_t)number;
}

/* ---- expectations -------------------------------------------------------------------------- */

static void read_action(struct json_reader *reader, struct json_value value, void *target)
{
	struct test_reading *reading = target;
	size_t word;

	if (!json_read_word(reader, value, policy_action_words, &word))
		return;
	reading->test->expect.action = (enum spd_action)word;
	reading->action = true;
}

static void read_reference(struct json_reader *reader, struct json_value value,
			   char out[NAME_LEN])
{
	const char *name = json_read_string(reader, value);

	if (name)
		policy_read_name(reader, value, name, out);
}

static void read_peer(struct json_reader *reader, struct json_value value, void *target)
{
	struct test_reading *reading = target;

	reading->peer = true;
	read_reference(reader, value, reading->test->expect.peer);
}

static void read_protection(struct json_reader *reader, struct json_value value, void *target)
{
	struct test_reading *reading = target;

	reading->peer = true;
	read_reference(reader, value, reading->test->expect.protection);
}

static void read_rule(struct json_reader *reader, struct json_value value, void *target)
{
	struct policy_test_expect *expect = &((struct test_reading *)target)->test->expect;

	expect->rule_given = true;
	expect->no_rule = json_is_null(value.json);
	if (expect->no_rule)
		return;
	if (json_is_string(value.json))
		read_reference(reader, value, expect->rule);
	else
		json_type_error(reader, value, "a rule's name, or null for none");
}

static void read_essential(struct json_reader *reader, struct json_value value, void *target)
{
	struct policy_test_expect *expect = &((struct test_reading *)target)->test->expect;

	expect->essential_given = true;
	json_read_boolean(reader, value, &expect->essential);
}

static const struct json_key expect_keys[] = {
	{ "action", true, read_action },
	{ "rule", false, read_rule },
	{ "peer", false, read_peer },
	{ "protection", false, read_protection },
	{ "essential", false, read_essential },
	{ 0 }
};

static void read_expect(struct json_reader *reader, struct json_value value, void *target)
{
	struct test_reading *reading = target;

	json_read_object(reader, value, expect_keys, target);
	if (reading->peer && reading->action && reading->test->expect.action != SPD_PROTECT)
		json_error(reader, value, NULL,
			   "peer and protection go with action \"protect\" only");
}

/* ---- tests --------------------------------------------------------------------------------- */

static void read_name(struct json_reader *reader, struct json_value value, void *target)
{
	struct test_reading *reading = target;

	read_reference(reader, value, reading->test->name);
}

static void read_direction(struct json_reader *reader, struct json_value value, void *target)
{
	static const char *const words[] = { [SPD_IN] = "in", [SPD_OUT] = "out", NULL };
	struct test_reading *reading = target;
	size_t word;

	if (json_read_word(reader, value, words, &word))
		reading->test->direction = (enum spd_direction)word;
}

static void read_origin(struct json_reader *reader, struct json_value value, void *target)
{
	struct test_reading *reading = target;
	size_t word;

	if (json_read_word(reader, value, policy_origin_words, &word))
		reading->test->forwarded = word + 1 == ORIGIN_FORWARDED;
}

static void read_application(struct json_reader *reader, struct json_value value, void *target)
{
	struct test_reading *reading = target;
	const char *name = json_read_string(reader, value);

	if (name)
		policy_read_name(reader, value, name, reading->test->application);
}

static const struct json_key test_keys[] = {
	{ "name", true, read_name },
	{ "direction", true, read_direction },
	{ "origin", false, read_origin },
	{ "application", false, read_application },
	{ "src", false, read_src },
	{ "dst", false, read_dst },
	{ "protocol", false, read_protocol },
	{ "src_port", false, read_src_port },
	{ "dst_port", false, read_dst_port },
	{ "icmp_type", false, read_icmp_type },
	{ "icmp_code", false, read_icmp_code },
	{ "spi", false, read_spi },
	{ "vlan", false, read_vlan },
	{ "dscp", false, read_dscp },
	{ "ethertype", false, read_ethertype },
	{ "expect", true, read_expect },
	{ "description", false, policy_read_description },
	{ 0 }
};

/* What only the whole test shows. */
static void check_test(struct json_reader *reader, struct json_value value,
		       struct test_reading *reading)
{
	const char *problem = packet_spec_finish(&reading->test->spec, reading->given,
						 reading->src_family, reading->dst_family);

	if (problem)
		json_error(reader, value, NULL, "%s", problem);
	if (reading->test->direction == SPD_IN && json_object_get(value.json, "origin"))
		json_error(reader, value, NULL, "origin goes with direction \"out\" only");
	if (reading->test->forwarded && reading->test->application[0])
		json_error(reader, value, NULL, "what is forwarded is no application's");
}

static void read_test(struct json_reader *reader, struct json_value value, void *target)
{
	const char *name = json_string_value(json_object_get(value.json, "name"));
	struct policy_tests *tests = target;
	struct test_reading reading = { 0 };
	size_t errors = reader->errors;

	reader->key = NULL;
	snprintf(reader->subject, sizeof(reader->subject), "tests[%zu]", tests->count);
	if (name)
		snprintf(reader->subject, sizeof(reader->subject), "test \"%.60s\"", name);
	reading.test = policy_list_slot(reader, &tests->items, &tests->count,
					sizeof(*reading.test));
	if (!reading.test)
		return;
	reading.test->at = json_where_value(reader->where, value.node);
	json_read_object(reader, value, test_keys, &reading);
	if (reader->errors == errors)
		check_test(reader, value, &reading);
	reader->subject[0] = '\0';
}

/* ---- the document -------------------------------------------------------------------------- */

static void read_version(struct json_reader *reader, struct json_value value, void *target)
{
	json_int_t version;

	(void)target;
	if (json_read_integer(reader, value, 0, INT32_MAX, &version) &&
	    version != POLICY_TEST_VERSION)
		json_error(reader, value, NULL, "version %" JSON_INTEGER_FORMAT " is not understood, "
			   "only %d is", version, POLICY_TEST_VERSION);
}

static void read_policy(struct json_reader *reader, struct json_value value, void *target)
{
	struct policy_tests *tests = target;
	const char *path = json_read_string(reader, value);

	if (!path)
		return;
	if (!*path)
		json_error(reader, value, NULL, "is empty");
	tests->policy = strdup(path);
	reader->no_memory |= !tests->policy;
}

static void read_interface(struct json_reader *reader, struct json_value value, void *target)
{
	struct policy_tests *tests = target;
	const char *name = json_read_string(reader, value);

	if (!name)
		return;
	if (!*name || strlen(name) >= sizeof(tests->interface) || strpbrk(name, "/ \t\r\n*?[")) {
		json_error(reader, value, NULL, "\"%.60s\" is not an interface name", name);
		return;
	}
	snprintf(tests->interface, sizeof(tests->interface), "%s", name);
}

static void read_tests(struct json_reader *reader, struct json_value value, void *target)
{
	const struct json_list list = { POLICY_TESTS_MAX, false, read_test };

	if (!json_read_list(reader, value, &list, target) && json_is_array(value.json) &&
	    !json_array_size(value.json))
		json_error(reader, value, NULL, "there is no test");
}

static const struct json_key document_keys[] = {
	{ "version", true, read_version },
	{ "policy", false, read_policy },
	{ "interface", false, read_interface },
	{ "tests", true, read_tests },
	{ "description", false, policy_read_description },
	{ 0 }
};

static int compare_names(const void *a, const void *b)
{
	const struct policy_test *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* A name that is used twice says not which test has failed. */
static void check_names(struct json_reader *reader, const struct policy_tests *tests)
{
	const struct policy_test **sorted = calloc(tests->count + 1, sizeof(*sorted));

	reader->no_memory |= !sorted;
	if (!sorted)
		return;
	for (size_t i = 0; i < tests->count; i++)
		sorted[i] = &tests->items[i];
	qsort(sorted, tests->count, sizeof(*sorted), compare_names);
	for (size_t i = 1; i < tests->count; i++)
		if (!strcmp(sorted[i - 1]->name, sorted[i]->name))
			json_error_at(reader, sorted[i]->at, NULL, "two tests are named \"%s\"",
				      sorted[i]->name);
	free(sorted);
}

struct policy_tests *policy_tests_parse(const char *text, size_t len, const char *name,
					struct ipsecbpf_report *report)
{
	struct json_reader reader = { .name = name, .report = report };
	struct policy_tests *tests = calloc(1, sizeof(*tests));
	int err = tests ? json_reader_open(&reader, text, len) : -ENOMEM;

	if (!err) {
		snprintf(tests->interface, sizeof(tests->interface), DEFAULT_INTERFACE);
		json_read_object(&reader, (struct json_value){ reader.root, JSON_WHERE_ROOT },
				 document_keys, tests);
		if (!reader.errors && !reader.no_memory)
			check_names(&reader, tests);
		err = reader.no_memory ? -ENOMEM : reader.errors ? -EINVAL : 0;
	}
	json_reader_close(&reader);
	if (!err)
		return tests;
	policy_tests_free(tests);
	errno = -err;
	return NULL;
}

struct policy_tests *policy_tests_load(const char *path, struct ipsecbpf_report *report)
{
	struct policy_tests *tests = NULL;
	char *text;
	size_t len;
	int err = policy_read_file(path, &text, &len, report);

	if (!err) {
		tests = policy_tests_parse(text, len, path, report);
		err = tests ? 0 : -errno;
		free(text);
	}
	if (err)
		errno = -err;
	return tests;
}
