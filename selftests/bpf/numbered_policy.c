// SPDX-License-Identifier: BSD-2-Clause
#include "numbered_policy.h"

#include <stdbool.h>
#include <stdio.h>

#define LEAST_RULES 12u
#define MANY_RULES  3000u
#define FIRST_REMOTE 2

static const char *const stream_names[] = {
#define X(id, name) name,
	STREAMS(X)
#undef X
};

struct numbered_policy numbered_policy(uint32_t number)
{
	const uint32_t streams = FAMILY_COUNT * STREAM_COUNT;
	struct numbered_policy policy = { .number = number };
	uint32_t room, step, first;

	/* The last rule is the one for the rest. */
	room = number % NUMBERED_LARGE_EVERY ? LEAST_RULES + number * 29 % 53 : MANY_RULES;
	step = 1 + number * 7 % (room / streams);
	first = number * 13 % room;
	policy.rules = room + 1;
	for (uint32_t i = 0; i < streams; i++)
		policy.place[i % FAMILY_COUNT][i / FAMILY_COUNT] = (first + i * step) % room;
	return policy;
}

uint8_t numbered_remote(enum stream stream)
{
	return (uint8_t)(FIRST_REMOTE + stream);
}

const char *numbered_rule_name(enum ip_family family, enum stream stream, char out[NAME_LEN])
{
	snprintf(out, NAME_LEN, "%s IPv%c", stream_names[stream], family == FAMILY_V4 ? '4' : '6');
	return out;
}

enum spd_action numbered_action(uint32_t number, enum stream stream)
{
	static const enum spd_action always[] = {
		[STREAM_BYPASSED] = SPD_BYPASS,
		[STREAM_PROTECTED] = SPD_PROTECT,
		[STREAM_DISCARDED] = SPD_DISCARD,
	};

	return stream == STREAM_CHANGING ? (enum spd_action)(number % SPD_ACTION_COUNT)
					 : always[stream];
}

/* ---- text ---------------------------------------------------------------------------------- */

static const char *either(bool first)
{
	return first ? "bypass" : "discard";
}

static void write_stream_rule(FILE *out, uint32_t number, enum ip_family family,
			      enum stream stream)
{
	static const char *const actions[] = {
		[SPD_BYPASS] = "\"bypass\"",
		[SPD_DISCARD] = "\"discard\"",
		[SPD_PROTECT] = "\"protect\",\"peer\":\"peer\",\"protection\":\"wire\"",
	};
	char name[NAME_LEN];

	fprintf(out, "{\"name\":\"%s\",\"remote\":\"%s%u\",\"action\":%s},",
		numbered_rule_name(family, stream, name),
		family == FAMILY_V4 ? NUMBERED_NET_V4 : NUMBERED_NET_V6, numbered_remote(stream),
		actions[numbered_action(number, stream)]);
}

/* No packet of a stream matches it; some of them begin like one that does. */
static void write_other_rule(FILE *out, uint32_t number, uint32_t index)
{
	uint32_t kind = (number + index) % 4;
	const char *action = either((number ^ index) & 4);

	fprintf(out, "{\"name\":\"%u\",\"action\":\"%s\",", index, action);
	if (number % 5 == 0)
		kind &= 2;	/* no ports, no protocols in all of the policy */
	if (kind == 0)
		fprintf(out, "\"remote\":\"10.1.%u.%u\"},", index >> 8, index & 255);
	else if (kind == 1)
		fprintf(out, "\"remote\":\"" NUMBERED_NET_V4 "0/24\",\"protocol\":\"tcp\","
			"\"remote_port\":%u},", 1000 + index);
	else if (kind == 2)
		fprintf(out, "\"remote\":\"fd00:1::%x\"},", index);
	else
		fprintf(out, "\"remote\":\"" NUMBERED_NET_V6 "/64\",\"protocol\":\"sctp\","
			"\"local_port\":\"%u-%u\"},", 8 * index, 8 * index + 7);
}

static void write_rule(FILE *out, const struct numbered_policy *policy, uint32_t index)
{
	for (int family = 0; family < FAMILY_COUNT; family++)
		for (int stream = 0; stream < STREAM_COUNT; stream++)
			if (policy->place[family][stream] == index) {
				write_stream_rule(out, policy->number, family, stream);
				return;
			}
	write_other_rule(out, policy->number, index);
}

static void write_addresses(FILE *out)
{
	for (int stream = 0; stream < STREAM_COUNT; stream++)
		fprintf(out, "%s\"" NUMBERED_NET_V4 "%u\",\"" NUMBERED_NET_V6 "%u\"",
			stream ? "," : "", numbered_remote(stream), numbered_remote(stream));
}

char *numbered_text(const struct numbered_policy *policy, size_t *ret_len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_len);
	uint32_t number = policy->number;

	if (!out)
		return NULL;
	fprintf(out, "{\"version\":1,\"bypass_essential\":[],\"defaults\":{\"in\":\"%s\","
		"\"out\":\"%s\",\"non_ip\":\"discard\"},\"protections\":{\"wire\":{}},"
		"\"peers\":{\"peer\":{\"addresses\":[", either(number & 2), either(number & 4));
	write_addresses(out);
	fputs("]}},\"rules\":[", out);
	for (uint32_t i = 0; i + 1 < policy->rules; i++)
		write_rule(out, policy, i);
	fprintf(out, "{\"name\":\"rest\",\"remote\":[\"10.9.0.0/16\",\"fd00:9::/32\"],"
		"\"action\":\"%s\"}]}", either(number & 1));
	return fclose(out) ? NULL : text;
}
