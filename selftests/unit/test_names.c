// SPDX-License-Identifier: BSD-2-Clause
/*
 * Host names: what the resolver's records may say, what is kept of them, and what the process that asks
 * is not able to do.
 */
#include "policy_testing.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/names_store.h"
#include "lib/sandbox.h"

#define NAMES 3
#define RECORD_ADDRESS(i) (sizeof(struct names_reply) + (i) * sizeof(struct names_reply_address))

/* ---- records ------------------------------------------------------------------------------- */

static void no_answers(struct names_answer answers[NAMES])
{
	for (size_t i = 0; i < NAMES; i++)
		answers[i] = (struct names_answer){ .failure = NAMES_NO_ANSWER };
}

static size_t make_record(char *out, struct names_reply head, const struct names_reply_address *addresses)
{
	memcpy(out, &head, sizeof(head));
	memcpy(out + sizeof(head), addresses, head.count * sizeof(*addresses));
	return RECORD_ADDRESS(head.count);
}

static const struct names_reply_address sample[] = {
	{ .family = FAMILY_V6, .address.b = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } },
	{ .family = FAMILY_V4, .address.b = { 192, 0, 2, 2 } },
	{ .family = FAMILY_V4, .address.b = { 192, 0, 2, 1 } },
	{ .family = FAMILY_V4, .address.b = { 192, 0, 2, 2 } },
};

static void test_record(void **state)
{
	const struct names_reply head = { NAMES_REPLY_MAGIC, 1, NAMES_NONE, 300, 1, 4 };
	struct names_answer answers[NAMES];
	char record[NAMES_REPLY_MAX], text[128];
	size_t len = make_record(record, head, sample);

	(void)state;
	no_answers(answers);
	assert_int_equal(names_reply_take(record, len, 1, &answers[1]), 0);
	assert_int_equal(answers[1].failure, NAMES_NONE);
	assert_int_equal(answers[1].ttl, 300);
	assert_true(answers[1].secure);
	assert_int_equal(answers[1].addresses.count, 3);	/* sorted, each once */
	address_format(&answers[1].addresses.items[0], text, sizeof(text));
	assert_string_equal(text, "192.0.2.1");
	address_format(&answers[1].addresses.items[2], text, sizeof(text));
	assert_string_equal(text, "2001:db8::1");
	/* A second one for the same name is a lie. */
	assert_int_equal(names_reply_take(record, len, 1, &answers[1]), -EPROTO);
	/* So is one about another's name. */
	assert_int_equal(names_reply_take(record, len, 0, &answers[0]), -EPROTO);
	assert_int_equal(answers[0].failure, NAMES_NO_ANSWER);
	for (size_t i = 0; i < NAMES; i++)
		free(answers[i].addresses.items);
}

static void test_records_that_lie(void **state)
{
	static const struct names_reply heads[] = {
		{ NAMES_REPLY_MAGIC + 1, 0, NAMES_NONE, 0, 0, 1 },
		{ NAMES_REPLY_MAGIC, NAMES, NAMES_NONE, 0, 0, 1 },
		{ NAMES_REPLY_MAGIC, UINT32_MAX, NAMES_NONE, 0, 0, 1 },
		{ NAMES_REPLY_MAGIC, 0, NAMES_FAILURE_COUNT, 0, 0, 0 },
		{ NAMES_REPLY_MAGIC, 0, NAMES_NO_ANSWER, 0, 0, 0 },
		{ NAMES_REPLY_MAGIC, 0, NAMES_NONE, 0, 2, 1 },
		{ NAMES_REPLY_MAGIC, 0, NAMES_NONE, 0, 0, 0 },		/* none, and no failure */
		{ NAMES_REPLY_MAGIC, 0, NAMES_SERVER, 0, 0, 1 },	/* some, and a failure */
		{ NAMES_REPLY_MAGIC, 0, NAMES_NONE, 0, 0, 2 },		/* more than there are */
		{ NAMES_REPLY_MAGIC, 0, NAMES_NONE, 0, 0, NAMES_ADDRESSES_MAX + 1 },
		{ NAMES_REPLY_MAGIC, 0, NAMES_NONE, 0, 0, UINT32_MAX },
	};
	struct names_answer answers[NAMES];

	(void)state;
	no_answers(answers);
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		char *record = malloc(RECORD_ADDRESS(1));

		memcpy(record, &heads[i], sizeof(heads[i]));
		memcpy(record + sizeof(heads[i]), sample, sizeof(sample[0]));
		assert_int_equal(names_reply_take(record, RECORD_ADDRESS(1), 0, &answers[0]), -EPROTO);
		assert_int_equal(answers[0].failure, NAMES_NO_ANSWER);
		free(record);
	}
	for (size_t len = 0; len < RECORD_ADDRESS(1); len++) {
		const struct names_reply head = { NAMES_REPLY_MAGIC, 0, NAMES_NONE, 0, 0, 1 };
		char whole[RECORD_ADDRESS(1)], *record = malloc(len ? len : 1);

		make_record(whole, head, sample);
		memcpy(record, whole, len);
		assert_int_equal(names_reply_take(record, len, 0, &answers[0]), -EPROTO);
		free(record);
	}
}

static void test_unfit_addresses(void **state)
{
	static const struct names_reply_address unfit[] = {
		{ .family = FAMILY_V4 },
		{ .family = FAMILY_V4, .address.b = { 224, 0, 0, 1 } },
		{ .family = FAMILY_V4, .address.b = { 255, 255, 255, 255 } },
		{ .family = FAMILY_V6 },
		{ .family = FAMILY_V6, .address.b = { 0xff, 2, [15] = 1 } },
		{ .family = FAMILY_V6, .address.b = { [10] = 0xff, 0xff, 10, 0, 0, 1 } },
	};
	const struct names_reply head = { NAMES_REPLY_MAGIC, 0, NAMES_NONE, 0, 0, 2 };
	const struct names_reply_address strange = { .family = FAMILY_COUNT };
	struct names_reply_address pair[2] = { sample[0] };
	struct names_answer answers[NAMES];
	char record[NAMES_REPLY_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(unfit) / sizeof(unfit[0]); i++) {
		no_answers(answers);
		pair[1] = unfit[i];
		assert_int_equal(names_reply_take(record, make_record(record, head, pair), 0,
						  &answers[0]), 0);
		assert_int_equal(answers[0].failure, NAMES_UNFIT);
		assert_null(answers[0].addresses.items);
	}
	pair[1] = strange;
	no_answers(answers);
	assert_int_equal(names_reply_take(record, make_record(record, head, pair), 0, &answers[0]),
			 -EPROTO);
}

static void test_random_records(void **state)
{
	unsigned int seed = 7;

	(void)state;
	for (int round = 0; round < 100000; round++) {
		size_t len = (size_t)rand_r(&seed) % 200;
		struct names_answer answers[NAMES];
		char *record = malloc(len + 1);

		no_answers(answers);
		for (size_t i = 0; i < len; i++)
			record[i] = (char)(rand_r(&seed) % 4 ? 0 : rand_r(&seed));
		if (len >= 4)
			memcpy(record, &(uint32_t){ NAMES_REPLY_MAGIC }, 4);
		names_reply_take(record, len, 0, &answers[0]);
		for (size_t i = 0; i < NAMES; i++)
			free(answers[i].addresses.items);
		free(record);
	}
}

/* ---- the table ----------------------------------------------------------------------------- */

static const char with_names[] =
	"{\"version\":1,\"bypass_essential\":[\"arp\",\"nd\"],"
	"\"defaults\":{\"in\":\"bypass\",\"out\":\"bypass\",\"non_ip\":\"bypass\"},\"rules\":[],\"applications\":["
	"{\"name\":\"a\",\"match\":{\"user\":\"root\"},\"networks\":["
	"{\"remote\":[\"one.example\",\"two.example\"],\"class\":\"trusted\"}]}]}";

static struct address_list one_address(uint8_t last)
{
	struct address_list list = { calloc(1, sizeof(struct address_range)), 1 };

	list.items[0].lo.lo = list.items[0].hi.lo = 0xc0000200u + last;
	return list;
}

static const char *const two_names[] = { "one.example", "two.example" };
static int64_t merge_time = 1000000;

static void merge(struct name_table *table, int one, int two, int expected)
{
	struct ipsecbpf_report report = { 0 };
	struct names_answer answers[2] = { { .failure = NAMES_SERVER }, { .failure = NAMES_SERVER } };
	const struct names_asked asked = { two_names, 2, answers, merge_time };

	if (one)
		answers[0] = (struct names_answer){ .addresses = one_address((uint8_t)one), .ttl = 9 };
	if (two)
		answers[1] = (struct names_answer){ .addresses = one_address((uint8_t)two) };
	assert_int_equal(names_merge(&asked, table, &report), expected);
	assert_int_equal(report.errors > 0, expected != 0);
	assert_int_equal(report.count, (one == 0) + (two == 0));
	free(answers[0].addresses.items);
	free(answers[1].addresses.items);
	report_fini(&report);
}

static void expect_addresses(const struct name_table *table, const char *name, const char *expected)
{
	const struct name_addresses *entry = name_table_find(table, name);
	char text[512] = "", one[64];

	assert_non_null(entry);
	for (size_t i = 0; i < entry->addresses.count; i++) {
		address_format(&entry->addresses.items[i], one, sizeof(one));
		strcat(strcat(text, i ? " " : ""), one);
	}
	assert_string_equal(text, expected);
}

static void test_merge(void **state)
{
	struct policy *policy = parse_good(with_names);
	struct name_table table = { 0 };

	(void)state;
	assert_true(names_are_in(policy));
	merge(&table, 1, 0, -EADDRNOTAVAIL);	/* of two.example nothing is known */
	expect_addresses(&table, "one.example", "192.0.2.1");	/* that is no matter of the other's */
	name_table_fini(&table);
	merge(&table, 1, 2, 0);
	merge(&table, 1, 0, 0);			/* kept, with a warning */
	assert_int_equal(name_table_find(&table, "two.example")->failure, NAMES_SERVER);
	merge(&table, 0, 3, 0);
	expect_addresses(&table, "one.example", "192.0.2.1");
	expect_addresses(&table, "two.example", "192.0.2.3");	/* not from DNS: nothing stays */
	assert_int_equal(name_table_find(&table, "two.example")->failure, NAMES_NONE);
	assert_int_equal(name_table_find(&table, "one.example")->ttl, 9);
	assert_null(name_table_find(&table, "three.example"));
	name_table_fini(&table);
	policy_free(policy);
}

/* Answers that take turns come to all of them; what none has had for long goes. */
static void test_grace(void **state)
{
	struct name_table table = { 0 };
	int64_t start = merge_time;

	(void)state;
	merge(&table, 5, 2, 0);
	for (int i = 0; i < 100; i++) {
		merge_time += 10;
		merge(&table, 3 + i % 2, 2, 0);
		expect_addresses(&table, "one.example", i == 0 ? "192.0.2.3 192.0.2.5" :
				 (i + 1) * 10 < NAMES_GRACE_MIN_S ? "192.0.2.3 192.0.2.4 192.0.2.5" :
				 "192.0.2.3 192.0.2.4");
	}
	/* A clock that is set back keeps nothing for ever. */
	merge_time = start;
	merge(&table, 7, 2, 0);
	expect_addresses(&table, "one.example", "192.0.2.3 192.0.2.4 192.0.2.7");
	merge_time += NAMES_GRACE_MIN_S;
	merge(&table, 7, 2, 0);
	expect_addresses(&table, "one.example", "192.0.2.7");
	name_table_fini(&table);
}

/* As it lies behind a policy's text. */
static void test_text(void **state)
{
	struct name_table table = { 0 }, again;
	char *text, *copy;
	size_t len;

	(void)state;
	merge(&table, 1, 2, 0);
	merge_time += 10;
	merge(&table, 3, 2, 0);
	text = names_text(&table);
	assert_int_equal(names_parse(text, strlen(text), &again), 0);
	expect_addresses(&again, "one.example", "192.0.2.1 192.0.2.3");
	assert_int_equal(again.items[0].seen[0] + 10, again.items[0].seen[1]);
	name_table_fini(&again);
	len = strlen(text);
	for (size_t cut = 0; cut < len; cut++) {
		copy = malloc(cut + 1);
		memcpy(copy, text, cut);
		assert_int_equal(names_parse(copy, cut, &again), -EINVAL);
		assert_int_equal(again.count, 0);
		free(copy);
	}
	free(text);
	name_table_fini(&table);
}

static void read_text(const char *text, size_t expected_names, bool expected_warning)
{
	char path[] = "/tmp/ipsecbpf-names-XXXXXX";
	struct ipsecbpf_report report = { 0 };
	struct name_table table;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	assert_int_equal(names_file_read(path, &table, &report), 0);
	assert_int_equal(table.count, expected_names);
	assert_int_equal(report.count, expected_warning);
	assert_int_equal(report.errors, 0);
	report_fini(&report);
	name_table_fini(&table);
	unlink(path);
}

static void test_file(void **state)
{
	char directory[] = "/tmp/ipsecbpf-names-XXXXXX", path[64];
	struct ipsecbpf_report report = { 0 };
	struct name_table table = { 0 }, again;
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/eth0.json", directory);
	assert_int_equal(names_file_read(path, &again, &report), 0);
	assert_int_equal(again.count, 0);
	merge(&table, 1, 2, 0);
	assert_int_equal(names_file_write(path, &table, &report), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(names_file_write(path, &table, &report), 0);
	assert_int_equal(names_file_read(path, &again, &report), 0);
	assert_int_equal(again.count, 2);
	assert_int_equal(name_table_find(&again, "one.example")->ttl, 9);
	assert_int_equal(name_table_find(&again, "one.example")->resolved_at,
			 name_table_find(&table, "one.example")->resolved_at);
	assert_int_equal(report.count, 0);
	name_table_fini(&again);
	name_table_fini(&table);
	unlink(path);
	assert_int_equal(rmdir(directory), 0);	/* nothing else was left there */
	assert_int_equal(names_file_write(path, &again, &report), -ENOENT);
	assert_int_equal(report.errors, 1);
	report_fini(&report);
}

static void test_damaged_files(void **state)
{
#define ENTRY(fields) "{\"version\":1,\"names\":{\"a.example\":{" fields "}}}"
	(void)state;
	read_text(ENTRY("\"addresses\":[\"10.0.0.1\"],\"ttl\":1,\"resolved_at\":2"), 1, false);
	read_text("", 0, true);
	read_text("{\"version\":2,\"names\":{}}", 0, true);
	read_text("{\"version\":1,\"names\":[]}", 0, true);
	read_text("{\"version\":1", 0, true);
	read_text(ENTRY("\"addresses\":[],\"ttl\":1,\"resolved_at\":2"), 0, true);
	read_text(ENTRY("\"addresses\":[\"10.0.0.0/8\"],\"ttl\":1,\"resolved_at\":2"), 0, true);
	read_text(ENTRY("\"addresses\":[7],\"ttl\":1,\"resolved_at\":2"), 0, true);
	read_text(ENTRY("\"addresses\":[\"10.0.0.1\"],\"ttl\":-1,\"resolved_at\":2"), 0, true);
	read_text(ENTRY("\"addresses\":[\"10.0.0.1\"],\"ttl\":4294967296,\"resolved_at\":2"), 0, true);
	read_text(ENTRY("\"addresses\":[\"10.0.0.1\"],\"ttl\":1"), 0, true);
	read_text(ENTRY("\"addresses\":\"10.0.0.1\",\"ttl\":1,\"resolved_at\":2"), 0, true);
}

/* ---- the sandbox --------------------------------------------------------------------------- */

static bool refused(long result)
{
	return result < 0 && errno == EPERM;
}

/* Each bit of the exit code is one thing that was possible. */
static int try_everything(pid_t parent)
{
	const int page = PROT_READ | PROT_WRITE;
	char *const args[] = { NULL };
	int possible = 0;

	if (sandbox_resolver())
		return 255;
	possible |= !refused(syscall(SYS_execve, "/bin/true", args, args)) << 0;
	possible |= !refused(open("/tmp/ipsecbpf-names-written", O_WRONLY | O_CREAT, 0600)) << 1;
	possible |= !refused(fork()) << 2;
	possible |= !refused(kill(parent, 0)) << 3;
	possible |= !refused(socket(AF_NETLINK, SOCK_RAW, 0)) << 4;
	possible |= !refused(socket(AF_INET, SOCK_RAW, IPPROTO_RAW)) << 5;
	possible |= !refused(ptrace(PTRACE_TRACEME, 0, 0, 0)) << 6;
	possible |= (mmap(NULL, 4096, page | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
		     MAP_FAILED) << 7;
	if (possible)
		return possible;
	/* What it is there for is possible. */
	if (open("/etc/hosts", O_RDONLY | O_CLOEXEC) < 0 || socket(AF_INET, SOCK_DGRAM, 0) < 0)
		return 254;
	if (!refused(unlink("/tmp/ipsecbpf-no-such-file")) ||
	    !refused(setuid(0)) || !refused(bind(3, NULL, 0)) || !refused(mkdir("/tmp/x", 0)))
		return 253;
	return 0;
}

static void test_sandbox(void **state)
{
	pid_t parent = getpid(), pid = fork();
	int status;

	(void)state;
	/* Not by _exit(), where a sanitizer would still do what is refused. */
	if (!pid)
		syscall(SYS_exit_group, try_everything(parent));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* By the whole way, without a name server: what /etc/hosts says. */
static void test_resolve(void **state)
{
	const char *const asked[] = { "localhost", "no such name" };
	struct names_answer *answers;

	(void)state;
	assert_int_equal(names_resolve(asked, 2, &answers), 0);
	assert_int_equal(answers[0].failure, NAMES_NONE);
	assert_true(answers[0].addresses.count >= 1);
	assert_int_equal(answers[0].ttl, 0);
	assert_int_not_equal(answers[1].failure, NAMES_NONE);
	assert_int_equal(answers[1].addresses.count, 0);
	names_answers_free(answers, 2);
	assert_int_equal(names_resolve(asked, 0, &answers), 0);
	names_answers_free(answers, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_records_that_lie),
		cmocka_unit_test(test_unfit_addresses),
		cmocka_unit_test(test_random_records),
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_grace),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_damaged_files),
		cmocka_unit_test(test_sandbox),
		cmocka_unit_test(test_resolve),
	};

	return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
