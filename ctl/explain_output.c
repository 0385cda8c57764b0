// SPDX-License-Identifier: BSD-2-Clause
#include "explain_output.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "advice.h"
#include "output.h"
#include "rule_line.h"

#define ICMP_V4 1
#define ICMP_V6 58

const char *const explain_headings[] = { "", "packet", "application", "decision", "rule",
					 "by", "answer" };

static const char *direction_word(enum spd_direction direction)
{
	return direction == SPD_OUT ? "out" : "in";
}

static bool is_icmp(const struct packet_verdict *seen)
{
	return seen->is_ip && (seen->proto == ICMP_V4 || seen->proto == ICMP_V6);
}

static const char *address_text(uint8_t family, const union wire_addr *addr,
				char out[INET6_ADDRSTRLEN])
{
	return inet_ntop(family == FAMILY_V6 ? AF_INET6 : AF_INET, addr->b, out,
			 INET6_ADDRSTRLEN);
}

/* ---- text ---------------------------------------------------------------------------------- */

static void end_text(const struct packet_verdict *seen, const union wire_addr *addr, __be16 port,
		     char *out, size_t len)
{
	char text[INET6_ADDRSTRLEN];

	address_text(seen->family, addr, text);
	if (port)
		snprintf(out, len, seen->family == FAMILY_V6 ? "[%s]:%u" : "%s:%u", text,
			 ntohs(port));
	else
		snprintf(out, len, "%s", text);
}

/* ", VLAN 5, DSCP ef" */
static const char *tags_text(const struct packet_verdict *seen, char out[40])
{
	char vlan[16] = "", dscp[16] = "", number[4];

	if (seen->vlan)
		snprintf(vlan, sizeof(vlan), ", VLAN %u", seen->vlan);
	if (seen->dscp)
		snprintf(dscp, sizeof(dscp), ", DSCP %s", packet_dscp_name(seen->dscp, number));
	snprintf(out, 40, "%s%s", vlan, dscp);
	return out;
}

/* "tcp 10.0.0.1:5 > 10.0.0.2:80, VLAN 5, DSCP ef" */
static const char *packet_text(const struct packet_verdict *seen, char *out, size_t len)
{
	static const char *const fragments[] = { "", ", first fragment", ", later fragment" };
	char src[INET6_ADDRSTRLEN + 10], dst[INET6_ADDRSTRLEN + 10], number[4], more[32] = "";
	char tags[40];

	tags_text(seen, tags);
	if (!seen->is_ip) {
		snprintf(out, len, "ethertype 0x%04x%s", ntohs(seen->ethertype), tags);
		return out;
	}
	end_text(seen, &seen->src, seen->src_port, src, sizeof(src));
	end_text(seen, &seen->dst, seen->dst_port, dst, sizeof(dst));
	if (seen->spi)
		snprintf(more, sizeof(more), " spi 0x%08x", ntohl(seen->spi));
	else if (is_icmp(seen) && seen->fragment < 2)
		snprintf(more, sizeof(more), " type %u/%u", seen->icmp_type, seen->icmp_code);
	snprintf(out, len, "%s%s %s > %s%s%s", packet_protocol_name(seen->proto, number), more, src,
		 dst, seen->fragment <= 2 ? fragments[seen->fragment] : "", tags);
	return out;
}

static const char *sa_text(const struct ipsecbpf_sa_info *sa, char *out, size_t len)
{
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN], number[4];

	snprintf(out, len, "%s spi 0x%08x, %s > %s, %s, %s%s, %s",
		 packet_protocol_name(sa->proto, number), ntohl(sa->spi),
		 address_text(sa->family, &sa->src, src), address_text(sa->family, &sa->dst, dst),
		 sa->suite, sa->tunnel ? "tunnel" : "transport",
		 sa->encap_dport ? " in UDP" : "", sa_stage_name(sa->stage));
	return out;
}

/* "rule 3 "web"", "the default", "essential traffic", or "no policy": what decided. */
static const char *rule_text(const struct explain_part *part, char *out, size_t len)
{
	const struct packet_verdict *verdict = &part->verdict;

	if (!verdict->asked)
		snprintf(out, len, "policy was not asked");
	else if (verdict->essential)
		snprintf(out, len, "essential traffic");
	else if (!verdict->serial)
		snprintf(out, len, "no policy is loaded");
	else if (!verdict->is_ip)
		snprintf(out, len, "the default for other ethertypes");
	else if (!part->rule.name)
		snprintf(out, len, "the default for %s", direction_word(part->direction));
	else if (part->rule.application)
		snprintf(out, len, "rule \"%s\" of application \"%s\"", part->rule.name,
			 part->rule.application);
	else
		snprintf(out, len, "rules[%u] \"%s\"", part->rule.index, part->rule.name);
	return out;
}

/* A packet that would be accepted inside SAs, though not as it is. */
static bool is_expected(const struct explain_part *part)
{
	return part->direction == SPD_IN && part->decision == EXPLAIN_DROP && part->rule.peer;
}

static enum out_colour decision_colour(const struct explain_part *part)
{
	return part->decision == EXPLAIN_DROP	? COLOUR_BAD
	       : part->decision == EXPLAIN_BYPASS ? COLOUR_WARN
						  : COLOUR_GOOD;
}

static void show_decision_text(const struct explain_part *part)
{
	enum drop_reason reason = part->verdict.reason;

	out_label("decision");
	out_colour(decision_colour(part));
	if (part->decision != EXPLAIN_DROP) {
		static const char *const what[] = {
			[EXPLAIN_BYPASS] = "passes in the clear",
			[EXPLAIN_PROTECT] = "leaves protected",
			[EXPLAIN_VERIFY] = "goes to the worker to be verified and opened",
		};

		out_text("%s: %s\n", explain_decision_name(part->decision), what[part->decision]);
		return;
	}
	out_text("drop: %s: %s\n", drop_reason_name(reason), drop_reason_text(reason));
	out_label("next");
	out_text("%s\n", drop_advice(reason).next);
}

static void show_rule_text(const struct explain_part *part)
{
	char text[2 * NAME_LEN + 64];

	if (part->app) {
		out_label("application");
		out_string(OUT_TEXT, NULL, "%s\n", part->app);
	}
	out_label("by");
	out_text("%s", rule_text(part, text, sizeof(text)));
	out_rule_line(part->rule.file, part->rule.line);
	if (part->verdict.asked && part->verdict.serial)
		out_text(", policy %u", part->verdict.serial);
	if (part->rule.level == LEVEL_OPTIONAL)
		out_text(", protection is optional");
	out_text("\n");
	if (part->rule.text) {
		out_label("");
		out_text("%s\n", part->rule.text);
	}
}

static void show_sas_text(const struct explain_part *part)
{
	bool expected = is_expected(part);
	char text[256];

	if (expected && !part->sa_count) {
		out_label("accepted");
		out_text("only by an SA of peer \"%s\", protection \"%s\", and there is none\n",
			 part->rule.peer, part->rule.protection);
	}
	for (size_t i = 0; i < part->sa_count; i++) {
		out_label(expected ? "accepted" : i ? "around it" : "SA");
		out_text("%s%s\n", expected ? "inside " : "",
			 sa_text(&part->sas[i], text, sizeof(text)));
	}
	if (part->inner_mtu) {
		out_label("inner MTU");
		out_text("%u\n", part->inner_mtu);
	}
}

static void show_counter_text(const struct explain_part *part)
{
	out_label("counted");
	if (part->passed)
		out_text("passed.%s: %s\n", pass_counter_name(part->counter),
			 pass_counter_text(part->counter));
	else if (part->verdict.reason)
		out_text("dropped.%s\n", drop_reason_name(part->verdict.reason));
	else
		out_text("nothing\n");
}

static const char *answer_text(const struct explanation *explanation, char *out, size_t len)
{
	const struct explain_part *answer = &explanation->answer;

	if (!explanation->answered)
		snprintf(out, len, "none is expected");
	else if (is_expected(answer) && answer->sa_count)
		snprintf(out, len, "accepted inside spi 0x%08x only", ntohl(answer->sas[0].spi));
	else if (is_expected(answer))
		snprintf(out, len, "dropped: no SA to accept it");
	else if (answer->decision == EXPLAIN_DROP)
		snprintf(out, len, "dropped: %s", drop_reason_name(answer->verdict.reason));
	else if (answer->decision == EXPLAIN_BYPASS)
		snprintf(out, len, answer->direction == SPD_IN ? "accepted in the clear"
							       : "sent in the clear");
	else if (answer->sa_count)
		snprintf(out, len, "protected by spi 0x%08x", ntohl(answer->sas[0].spi));
	else
		snprintf(out, len, "%s", explain_decision_name(answer->decision));
	return out;
}

static void show_text(const char *ifname, const struct explanation *explanation)
{
	const struct explain_part *part = &explanation->packet;
	char text[256], rule[2 * NAME_LEN + 64];

	out_label("packet");
	out_colour(COLOUR_BOLD);
	out_text("%s %s", direction_word(part->direction),
		 packet_text(&part->verdict, text, sizeof(text)));
	out_text(" on %s\n", ifname);
	show_decision_text(part);
	show_rule_text(part);
	show_sas_text(part);
	show_counter_text(part);
	out_label("answer");
	out_text("%s\n", answer_text(explanation, text, sizeof(text)));
	if (!explanation->answered)
		return;
	out_label("");
	out_text("%s %s", direction_word(explanation->answer.direction),
		 packet_text(&explanation->answer.verdict, text, sizeof(text)));
	out_text(", by %s\n", rule_text(&explanation->answer, rule, sizeof(rule)));
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void json_packet(const struct packet_verdict *seen)
{
	char text[INET6_ADDRSTRLEN], number[4];

	out_uint(OUT_JSON, "ethertype", out_plain, ntohs(seen->ethertype));
	out_uint(OUT_JSON, "vlan", out_plain, seen->vlan);
	if (!seen->is_ip)
		return;
	out_string(OUT_JSON, "src", out_plain, address_text(seen->family, &seen->src, text));
	out_string(OUT_JSON, "dst", out_plain, address_text(seen->family, &seen->dst, text));
	out_string(OUT_JSON, "protocol", out_plain, packet_protocol_name(seen->proto, number));
	if (seen->src_port || seen->dst_port) {
		out_uint(OUT_JSON, "src_port", out_plain, ntohs(seen->src_port));
		out_uint(OUT_JSON, "dst_port", out_plain, ntohs(seen->dst_port));
	}
	if (is_icmp(seen)) {
		out_uint(OUT_JSON, "icmp_type", out_plain, seen->icmp_type);
		out_uint(OUT_JSON, "icmp_code", out_plain, seen->icmp_code);
	}
	if (seen->spi)
		out_uint(OUT_JSON, "spi", out_plain, ntohl(seen->spi));
	out_uint(OUT_JSON, "dscp", out_plain, seen->dscp);
	out_bool(OUT_JSON, "fragment", out_plain, seen->fragment != 0);
}

static void json_policy(const struct explain_part *part)
{
	const struct packet_verdict *verdict = &part->verdict;
	const struct explain_rule *rule = &part->rule;
	static const char *const actions[] = {
#define X(id, word) [SPD_##id] = word,
		SPD_ACTIONS(X)
#undef X
	};

	if (!verdict->asked || (!verdict->serial && !verdict->essential)) {
		out_null(OUT_JSON, "policy", NULL);
		return;
	}
	out_object("policy");
	out_uint(OUT_JSON, "serial", out_plain, verdict->serial);
	if (verdict->action < SPD_ACTION_COUNT)
		out_string(OUT_JSON, "action", out_plain, actions[verdict->action]);
	out_bool(OUT_JSON, "essential", out_plain, verdict->essential);
	if (rule->name) {
		out_uint(OUT_JSON, "rule", out_plain, rule->index);
		out_string(OUT_JSON, "name", out_plain, rule->name);
		out_rule_file("file", rule->file);
		out_uint(OUT_JSON, "line", out_plain, rule->line);
		out_string(OUT_JSON, "text", out_plain, rule->text);
	} else {
		out_null(OUT_JSON, "rule", NULL);
	}
	if (rule->peer) {
		out_string(OUT_JSON, "peer", out_plain, rule->peer);
		out_string(OUT_JSON, "protection", out_plain, rule->protection);
		out_string(OUT_JSON, "level", out_plain,
			   rule->level == LEVEL_OPTIONAL ? "optional" : "mandatory");
	}
	out_object_end();
}

static void json_sa(const struct ipsecbpf_sa_info *sa)
{
	char text[INET6_ADDRSTRLEN], number[4];

	out_object(NULL);
	out_string(OUT_JSON, "src", out_plain, address_text(sa->family, &sa->src, text));
	out_string(OUT_JSON, "dst", out_plain, address_text(sa->family, &sa->dst, text));
	out_uint(OUT_JSON, "spi", out_plain, ntohl(sa->spi));
	out_string(OUT_JSON, "proto", out_plain, packet_protocol_name(sa->proto, number));
	out_string(OUT_JSON, "mode", out_plain, sa->tunnel ? "tunnel" : "transport");
	out_string(OUT_JSON, "suite", out_plain, sa->suite);
	out_string(OUT_JSON, "peer", out_plain, sa->peer);
	out_string(OUT_JSON, "protection", out_plain, sa->protection);
	out_string(OUT_JSON, "stage", out_plain, sa_stage_name(sa->stage));
	out_object_end();
}

static void json_decision(const struct explain_part *part)
{
	enum drop_reason reason = part->verdict.reason;

	out_string(OUT_JSON, "decision", out_plain, explain_decision_name(part->decision));
	if (part->decision == EXPLAIN_DROP) {
		out_string(OUT_JSON, "reason", out_plain, drop_reason_name(reason));
		out_string(OUT_JSON, "next", out_plain, drop_advice(reason).next);
	} else {
		out_null(OUT_JSON, "reason", NULL);
	}
	out_array("counters");
	if (part->passed)
		out_string(OUT_JSON, NULL, out_plain, pass_counter_name(part->counter));
	else if (reason)
		out_string(OUT_JSON, NULL, out_plain, drop_reason_name(reason));
	out_array_end();
}

static void json_verdict(const struct explain_part *part)
{
	json_decision(part);
	json_policy(part);
	out_array(is_expected(part) ? "accepted_by" : "sas");
	for (size_t i = 0; i < part->sa_count; i++)
		json_sa(&part->sas[i]);
	out_array_end();
}

static void json_part(const char *key, const struct explain_part *part)
{
	out_object(key);
	out_string(OUT_JSON, "direction", out_plain, direction_word(part->direction));
	json_packet(&part->verdict);
	if (part->app)
		out_string(OUT_JSON, "application", out_plain, part->app);
	else
		out_null(OUT_JSON, "application", NULL);
	json_verdict(part);
	if (part->inner_mtu)
		out_uint(OUT_JSON, "inner_mtu", out_plain, part->inner_mtu);
	out_object_end();
}

static void show_json(const struct explanation *explanation)
{
	json_part("packet", &explanation->packet);
	if (explanation->answered)
		json_part("answer", &explanation->answer);
	else
		out_null(OUT_JSON, "answer", NULL);
}

void explain_show(const char *ifname, const struct explanation *explanation)
{
	if (out_is_json())
		show_json(explanation);
	else
		show_text(ifname, explanation);
}

/* Beside a cell that says whose it is. */
static void rule_cell(const struct explain_part *part)
{
	char text[2 * NAME_LEN + 64];

	if (part->rule.application)
		out_text("rule \"%s\"", part->rule.name);
	else
		out_text("%s", rule_text(part, text, sizeof(text)));
}

static void decision_cell(const struct explain_part *part)
{
	out_colour(decision_colour(part));
	if (part->decision == EXPLAIN_DROP)
		out_text("drop: %s", drop_reason_name(part->verdict.reason));
	else
		out_text("%s", explain_decision_name(part->decision));
}

static void sa_cell(const struct explain_part *part)
{
	if (part->sa_count)
		out_text("spi 0x%08x", ntohl(part->sas[0].spi));
	else
		out_text("-");
}

void explain_show_verdict(const struct explain_part *part)
{
	if (!part) {
		out_null(OUT_ANY, "decision", "-");
		out_null(OUT_JSON, "reason", NULL);
		out_null(OUT_ANY, "policy", "-");
		out_array("sas");
		out_array_end();
		out_text("-");
	} else if (out_is_json()) {
		json_verdict(part);
	} else {
		decision_cell(part);
		rule_cell(part);
		sa_cell(part);
	}
}

void explain_show_row(const struct explanation *explanation, uint32_t number)
{
	const struct explain_part *part = &explanation->packet;
	char text[256];

	if (number)
		out_uint(OUT_JSON, "number", out_plain, number);
	if (out_is_json()) {
		show_json(explanation);
		return;
	}
	if (number)
		out_text("%u %s", number, direction_word(part->direction));
	else
		out_text("%s", direction_word(part->direction));
	out_text("%s", packet_text(&part->verdict, text, sizeof(text)));
	out_string(OUT_TEXT, NULL, "%s", part->app ? part->app : "-");
	decision_cell(part);
	rule_cell(part);
	sa_cell(part);
	out_text("%s", answer_text(explanation, text, sizeof(text)));
	out_row_end();
}
