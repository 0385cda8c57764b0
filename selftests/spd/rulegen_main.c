// SPDX-License-Identifier: BSD-2-Clause
/* build/spd/rulegen: writes a rule set as a policy file, or what shape it has. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "rulegen_internal.h"

static const char usage[] =
	"Usage: rulegen [options] KIND RULES > policy.json\n"
	"KIND: acl, fw, ipc, host or adverse\n"
	"  -6, --ipv6          IPv6 instead of IPv4\n"
	"  -s, --seed N        another set of the same shape (1)\n"
	"      --skew N        of the prefix tree, 1 to 100 per cent (the kind's own)\n"
	"      --smooth N      move prefix lengths by up to N bits (0)\n"
	"      --scope N       -100 (specific) to 100 (wide) per cent (0)\n"
	"      --link          some rules ask for VLAN and DSCP\n"
	"      --shape         print the set's shape instead, one line\n";

static bool parse_number(const char *text, long long min, long long max, long long *ret_number)
{
	char *end;

	errno = 0;
	*ret_number = strtoll(text, &end, 10);
	return !errno && end != text && !*end && *ret_number >= min && *ret_number <= max;
}

static bool parse_kind(const char *text, enum gen_kind *ret_kind)
{
	for (size_t i = 0; i < GEN_KIND_COUNT; i++) {
		if (strcmp(text, gen_kind_words[i]))
			continue;
		*ret_kind = (enum gen_kind)i;
		return true;
	}
	return false;
}

/* ---- the shape of a set ---- */

struct prefix {
	struct addr128 lo, hi;
};

static int compare_prefixes(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct prefix));
}

/* How many different ranges there are on one side; 0 without memory. */
static size_t count_distinct(const struct gen_set *set, bool remote)
{
	struct prefix *all = calloc(set->count, sizeof(*all));
	size_t distinct = 1;

	if (!all)
		return 0;
	for (size_t i = 0; i < set->count; i++) {
		const struct gen_selector *s = &set->rules[i].selector;

		all[i] = remote ? (struct prefix){ s->remote_lo, s->remote_hi } :
				  (struct prefix){ s->local_lo, s->local_hi };
	}
	qsort(all, set->count, sizeof(*all), compare_prefixes);
	for (size_t i = 1; i < set->count; i++)
		distinct += compare_prefixes(&all[i], &all[i - 1]) != 0;
	free(all);
	return distinct;
}

/* Bits of a range that are left open: of a prefix, those behind it. */
static uint64_t open_bits(struct addr128 lo, struct addr128 hi)
{
	struct addr128 differ = { lo.hi ^ hi.hi, lo.lo ^ hi.lo };

	if (differ.hi)
		return 128 - (uint64_t)__builtin_clzll(differ.hi);
	return differ.lo ? 64 - (uint64_t)__builtin_clzll(differ.lo) : 0;
}

static uint64_t open_span_bits(struct gen_span span)
{
	return open_bits((struct addr128){ .lo = span.lo }, (struct addr128){ .lo = span.hi });
}

static int compare_tuples(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Kinds of masks: the hash tables of a tuple space search, its port ranges rounded up to prefixes. 0
 * without memory. */
static size_t count_tuples(const struct gen_set *set)
{
	uint64_t *all = calloc(set->count, sizeof(*all));
	size_t distinct = 1;

	if (!all)
		return 0;
	for (size_t i = 0; i < set->count; i++) {
		const struct gen_selector *s = &set->rules[i].selector;

		all[i] = open_bits(s->remote_lo, s->remote_hi) << 32 |
			 open_bits(s->local_lo, s->local_hi) << 24 |
			 open_span_bits(s->remote_port) << 16 | open_span_bits(s->local_port) << 8 |
			 open_span_bits(s->proto);
	}
	qsort(all, set->count, sizeof(*all), compare_tuples);
	for (size_t i = 1; i < set->count; i++)
		distinct += all[i] != all[i - 1];
	free(all);
	return distinct;
}

static bool is_any_side(enum ip_family family, struct addr128 lo, struct addr128 hi)
{
	return !gen_to_number(lo) && gen_to_number(hi) == gen_host_mask(family, 0);
}

static bool is_any_span(struct gen_span span, struct gen_span any)
{
	return span.lo == any.lo && span.hi == any.hi;
}

static void print_shape(const struct gen_set *set)
{
	enum ip_family family = set->options.family;
	size_t any[5] = { 0 }, ranges = 0, protects = 0;

	for (size_t i = 0; i < set->count; i++) {
		const struct gen_selector *s = &set->rules[i].selector;

		any[0] += is_any_side(family, s->remote_lo, s->remote_hi);
		any[1] += is_any_side(family, s->local_lo, s->local_hi);
		any[2] += is_any_span(s->proto, ANY_PROTO);
		any[3] += is_any_span(s->remote_port, ANY_PORT);
		any[4] += is_any_span(s->local_port, ANY_PORT);
		ranges += (s->remote_port.lo != s->remote_port.hi &&
			   !is_any_span(s->remote_port, ANY_PORT)) ||
			  (s->local_port.lo != s->local_port.hi &&
			   !is_any_span(s->local_port, ANY_PORT));
		protects += set->rules[i].action == SPD_PROTECT;
	}
	printf("%-8s IPv%d %7zu rules; any, per cent: remote %zu, local %zu, protocol %zu, "
	       "remote_port %zu, local_port %zu; port ranges %zu; protect %zu; distinct: "
	       "remote %zu, local %zu, tuples %zu; peers %zu\n", gen_kind_words[set->options.kind],
	       family == FAMILY_V4 ? 4 : 6, set->count, any[0] * 100 / set->count,
	       any[1] * 100 / set->count, any[2] * 100 / set->count, any[3] * 100 / set->count,
	       any[4] * 100 / set->count, ranges * 100 / set->count, protects * 100 / set->count,
	       count_distinct(set, true), count_distinct(set, false), count_tuples(set), set->peer_count);
}

/* ---- the command line ---- */

struct command {
	struct gen_options options;
	bool shape;
};

static bool parse_option(struct command *command, int option)
{
	struct gen_options *options = &command->options;
	long long number = 0;
	bool good = true;

	if (option == 's' && (good = parse_number(optarg, 0, LLONG_MAX, &number)))
		options->seed = (uint64_t)number;
	else if (option == 'k' && (good = parse_number(optarg, 1, 100, &number)))
		options->skew = (unsigned int)number;
	else if (option == 'm' && (good = parse_number(optarg, 0, 64, &number)))
		options->smooth = (unsigned int)number;
	else if (option == 'c' && (good = parse_number(optarg, -100, 100, &number)))
		options->scope = (int)number;
	else if (option == '6')
		options->family = FAMILY_V6;
	else if (option == 'l')
		options->flags |= GEN_VLAN_DSCP;
	else if (option == 'p')
		command->shape = true;
	else
		good = false;
	return good;
}

static bool parse_command(struct command *command, int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "ipv6", no_argument, NULL, '6' },
		{ "seed", required_argument, NULL, 's' },
		{ "skew", required_argument, NULL, 'k' },
		{ "smooth", required_argument, NULL, 'm' },
		{ "scope", required_argument, NULL, 'c' },
		{ "link", no_argument, NULL, 'l' },
		{ "shape", no_argument, NULL, 'p' },
		{ 0 },
	};
	long long rules;
	int option;

	while ((option = getopt_long(argc, argv, "6s:", long_options, NULL)) != -1)
		if (!parse_option(command, option))
			return false;
	if (argc - optind != 2 || !parse_kind(argv[optind], &command->options.kind) ||
	    !parse_number(argv[optind + 1], 1, GEN_RULES_MAX, &rules))
		return false;
	command->options.rules = (size_t)rules;
	return true;
}

int main(int argc, char **argv)
{
	struct command command = { .options.seed = 1 };
	struct gen_set set;
	int err;

	if (!parse_command(&command, argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	err = gen_set_init(&set, &command.options);
	if (err) {
		fprintf(stderr, "rulegen: %s\n", strerror(-err));
		return 1;
	}
	if (command.shape)
		print_shape(&set);
	else
		err = gen_set_write_policy(&set, stdout);
	if (err)
		fprintf(stderr, "rulegen: standard output: %s\n", strerror(-err));
	gen_set_fini(&set);
	return err ? 1 : 0;
}
