// SPDX-License-Identifier: BSD-2-Clause
/* How long an SA may live (RFC 4301 section 4.4.2.1): soft limits are announced, hard ones end. */
#include "sa_json.h"

/* Seconds as nanoseconds fit into 63 bits. */
#define SECONDS_MAX UINT32_MAX

/* "soft" or "hard" while it is read. */
struct limits_reading {
	struct sa_limits *values;
	struct json_value bytes, packets, seconds;	/* where they stand */
};

struct both_reading {
	struct limits_reading soft, hard;
};

static void read_limit(struct json_reader *reader, struct json_value value, json_int_t max,
		       uint64_t *ret_limit)
{
	json_int_t limit;

	if (json_read_integer(reader, value, 1, max, &limit))
		*ret_limit = (uint64_t)limit;
}

static void read_bytes(struct json_reader *reader, struct json_value value, void *target)
{
	struct limits_reading *reading = target;

	reading->bytes = value;
	read_limit(reader, value, INT64_MAX, &reading->values->bytes);
}

static void read_packets(struct json_reader *reader, struct json_value value, void *target)
{
	struct limits_reading *reading = target;

	reading->packets = value;
	read_limit(reader, value, INT64_MAX, &reading->values->packets);
}

static void read_seconds(struct json_reader *reader, struct json_value value, void *target)
{
	struct limits_reading *reading = target;

	reading->seconds = value;
	read_limit(reader, value, SECONDS_MAX, &reading->values->seconds);
}

/* An object without a limit in it is a mistake: somebody believes in a limit there. */
static void want_members(struct json_reader *reader, struct json_value value, const char *which)
{
	if (json_is_object(value.json) && !json_object_size(value.json))
		json_error(reader, value, "leave it out for no limit",
			   "at least one of %s is needed", which);
}

static void read_values(struct json_reader *reader, struct json_value value, void *target)
{
	static const struct json_key keys[] = {
		{ "bytes", false, read_bytes },
		{ "packets", false, read_packets },
		{ "seconds", false, read_seconds },
		{ 0 }
	};

	json_read_object(reader, value, keys, target);
	want_members(reader, value, "bytes, packets and seconds");
}

static void read_soft(struct json_reader *reader, struct json_value value, void *target)
{
	struct both_reading *reading = target;

	read_values(reader, value, &reading->soft);
}

static void read_hard(struct json_reader *reader, struct json_value value, void *target)
{
	struct both_reading *reading = target;

	read_values(reader, value, &reading->hard);
}

/* A soft limit that is not below the hard one would never be announced. 0: not given, or wrong. */
static void check_order(struct json_reader *reader, struct json_value at, const char *name,
			uint64_t soft, uint64_t hard)
{
	if (soft && hard && soft >= hard)
		json_error(reader, at, "the soft limit announces the hard one: make it smaller",
			   "soft %s: %llu is not below the hard limit of %llu", name,
			   (unsigned long long)soft, (unsigned long long)hard);
}

void sa_json_limits(struct json_reader *reader, struct json_value value, void *target)
{
	static const struct json_key keys[] = {
		{ "soft", false, read_soft },
		{ "hard", false, read_hard },
		{ 0 }
	};
	struct sa_reading *reading = target;
	struct sa_limits *soft = &reading->sa->soft, *hard = &reading->sa->hard;
	struct both_reading both = { .soft.values = soft, .hard.values = hard };

	json_read_object(reader, value, keys, &both);
	want_members(reader, value, "soft and hard");
	check_order(reader, both.soft.bytes, "bytes", soft->bytes, hard->bytes);
	check_order(reader, both.soft.packets, "packets", soft->packets, hard->packets);
	check_order(reader, both.soft.seconds, "seconds", soft->seconds, hard->seconds);
}
