// SPDX-License-Identifier: BSD-2-Clause
/*
 * What concerns the headers around an SA's packets: UDP (RFC 3948), and in tunnel mode DSCP, DF
 * and the next hop (RFC 4301 sections 5.1.2 and 8.1). Values are read where they stand;
 * whether they fit protocol and mode is checked once the whole SA is known.
 */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "sa_json.h"

#define DSCP_MAX      63
#define KEEPALIVE_MAX 3600	/* seconds */

static void read_port(struct json_reader *reader, struct json_value value, __be16 *ret_port)
{
	json_int_t port;

	if (json_read_integer(reader, value, 1, UINT16_MAX, &port))
		*ret_port = htons((uint16_t)port);
}

static void read_sport(struct json_reader *reader, struct json_value value, void *target)
{
	struct sa_reading *reading = target;

	read_port(reader, value, &reading->sa->encap_sport);
}

static void read_dport(struct json_reader *reader, struct json_value value, void *target)
{
	struct sa_reading *reading = target;

	read_port(reader, value, &reading->sa->encap_dport);
}

static void read_keepalive(struct json_reader *reader, struct json_value value, void *target)
{
	struct sa_reading *reading = target;
	json_int_t seconds;

	if (json_read_integer(reader, value, 0, KEEPALIVE_MAX, &seconds))
		reading->sa->keepalive = (uint16_t)seconds;
}

static void read_follow_peer(struct json_reader *reader, struct json_value value, void *target)
{
	struct sa_reading *reading = target;

	if (json_read_boolean(reader, value, &reading->sa->follow_peer))
		reading->follow_peer = value;
}

void sa_json_encap(struct json_reader *reader, struct json_value value, void *target)
{
	static const struct json_key keys[] = {
		{ "sport", true, read_sport },
		{ "dport", true, read_dport },
		{ "keepalive", false, read_keepalive },
		{ "follow_peer", false, read_follow_peer },
		{ 0 }
	};
	struct sa_reading *reading = target;

	reading->encap = value;
	json_read_object(reader, value, keys, target);
}

void sa_json_dscp(struct json_reader *reader, struct json_value value, void *target)
{
	static const char *const words[] = { "copy", NULL };
	struct sa_reading *reading = target;
	json_int_t dscp;
	size_t index;

	reading->dscp = value;
	if (json_is_string(value.json)) {
		if (json_read_word(reader, value, words, &index))
			reading->sa->dscp = DSCP_COPY;
	} else if (!json_is_integer(value.json)) {
		json_type_error(reader, value, "\"copy\" or a number from 0 to 63");
	} else if (json_read_integer(reader, value, 0, DSCP_MAX, &dscp)) {
		reading->sa->dscp = (uint8_t)dscp;
	}
}

void sa_json_df(struct json_reader *reader, struct json_value value, void *target)
{
	static const char *const words[] = {
#define X(id, word) [DF_##id] = word,
		DF_RULES(X)
#undef X
		NULL
	};
	struct sa_reading *reading = target;
	size_t index;

	reading->df = value;
	if (json_read_word(reader, value, words, &index))
		reading->sa->df = (uint8_t)index;
}

void sa_json_next_hop(struct json_reader *reader, struct json_value value, void *target)
{
	struct sa_reading *reading = target;
	struct sa_config *sa = reading->sa;

	reading->next_hop = value;
	sa->next_hop_given = sa_json_address(reader, value, &sa->next_hop_family, &sa->next_hop);
}

/* `name`: of the key, for the message. */
static void want_tunnel(struct json_reader *reader, const struct sa_reading *reading,
			struct json_value value, const char *name)
{
	if (!value.json || reading->sa->tunnel)
		return;
	reader->key = name;
	json_error(reader, value, "leave it out, or write \"mode\": \"tunnel\"",
		   "only in tunnel mode: in transport mode the packet keeps its own header and"
		   " way");
	reader->key = NULL;
}

/*
 * A peer is followed by the source of packets that proved authentic. Transport mode has inner
 * checksums over the old addresses (RFC 3948 section 3.1.2); without the replay check an old
 * packet, sent again from anywhere, would be as good as a new one.
 */
static void check_follow_peer(struct json_reader *reader, const struct sa_reading *reading)
{
	const struct sa_config *sa = reading->sa;

	if (!sa->follow_peer)
		return;
	reader->key = "follow_peer";
	if (!sa->tunnel)
		json_error(reader, reading->follow_peer,
			   "leave it out, or write \"mode\": \"tunnel\"",
			   "only in tunnel mode: in transport mode a changed address would break"
			   " the inner checksums");
	else if (!sa->replay_window)
		json_error(reader, reading->follow_peer, "leave it out, or give a replay_window",
			   "needs the replay check: an old packet sent again from elsewhere would"
			   " turn the SA there");
	reader->key = NULL;
}

static void check_encap(struct json_reader *reader, const struct sa_reading *reading)
{
	if (!reading->encap.json || reading->sa->proto == IPPROTO_ESP)
		return;
	reader->key = "encap";
	json_error(reader, reading->encap, "leave it out, or use ESP with a null suite",
		   "only with ESP (RFC 3948): AH protects the addresses that a NAT would change");
	reader->key = NULL;
}

void sa_json_finish_outer(struct json_reader *reader, const struct sa_reading *reading)
{
	check_encap(reader, reading);
	check_follow_peer(reader, reading);
	want_tunnel(reader, reading, reading->dscp, "dscp");
	want_tunnel(reader, reading, reading->df, "df");
	want_tunnel(reader, reading, reading->next_hop, "next_hop");
	if (reading->sa->df != DF_COPY && reading->sa->tunnel && reading->sa->family == FAMILY_V6) {
		reader->key = "df";
		json_warning(reader, reading->df, "leave it out",
			     "has no effect: the outer header is IPv6, which has no DF bit");
		reader->key = NULL;
	}
}
