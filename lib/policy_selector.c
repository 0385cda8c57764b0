// SPDX-License-Identifier: BSD-2-Clause
/*
 * A rule's selectors made comparable: per family, sorted, overlaps merged. The check asks whether
 * one rule leaves nothing for a later one; the compiler multiplies the parts out.
 */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "policy_internal.h"

static int compare_ranges(const void *a, const void *b)
{
	const struct address_range *x = a, *y = b;

	return addr128_compare(x->lo, y->lo);
}

/* Whether `next` begins inside `range` or right behind it. */
static bool touches(const struct address_range *range, const struct address_range *next)
{
	struct addr128 after = range->hi;

	if (addr128_compare(next->lo, range->hi) <= 0)
		return true;
	if (!++after.lo)
		after.hi++;
	return addr128_compare(next->lo, after) == 0;
}

static void sort_and_merge(struct address_list *list)
{
	size_t kept = 0;

	qsort(list->items, list->count, sizeof(*list->items), compare_ranges);
	for (size_t i = 1; i < list->count; i++) {
		struct address_range *last = &list->items[kept];

		if (!touches(last, &list->items[i]))
			list->items[++kept] = list->items[i];
		else if (addr128_compare(list->items[i].hi, last->hi) > 0)
			last->hi = list->items[i].hi;
	}
	if (list->count)
		list->count = kept + 1;
}

int address_list_of_family(const struct address_list *list, enum ip_family family,
			   struct address_list *ret_list)
{
	struct address_list out = { 0 };

	out.items = calloc(list->count ? list->count : 1, sizeof(*out.items));
	if (!out.items)
		return -ENOMEM;
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].family == family)
			out.items[out.count++] = list->items[i];
	if (!list->count)
		out.items[out.count++] = address_whole_family(family);
	sort_and_merge(&out);
	*ret_list = out;
	return 0;
}

static int compare_ports(const void *a, const void *b)
{
	const struct port_range *x = a, *y = b;

	return x->lo < y->lo ? -1 : x->lo > y->lo;
}

static int merge_ports(const struct port_list *list, struct port_list *ret_list)
{
	struct port_list out = { .count = list->count };
	size_t kept = 0;

	if (!list->count)
		return 0;
	out.items = calloc(list->count, sizeof(*out.items));
	if (!out.items)
		return -ENOMEM;
	memcpy(out.items, list->items, list->count * sizeof(*out.items));
	qsort(out.items, out.count, sizeof(*out.items), compare_ports);
	for (size_t i = 1; i < out.count; i++) {
		if (out.items[i].lo > (uint32_t)out.items[kept].hi + 1)
			out.items[++kept] = out.items[i];
		else if (out.items[i].hi > out.items[kept].hi)
			out.items[kept].hi = out.items[i].hi;
	}
	out.count = kept + 1;
	*ret_list = out;
	return 0;
}

/* Codepoints 0-63 are all that there are. VLAN ids 0-4094 are not: a frame may have 4095. */
static int merge_dscps(const struct port_list *list, struct port_list *ret_list)
{
	int err = merge_ports(list, ret_list);

	if (!err && ret_list->count == 1 && !ret_list->items[0].lo &&
	    ret_list->items[0].hi == DSCP_MAX)
		ret_list->count = 0;
	return err;
}

static void set_protocols(struct selector *selector)
{
	const struct rule *rule = selector->rule;

	selector->any_protocol = rule->protocol_count == 0;
	if (selector->any_protocol) {
		memset(selector->protocols, 0xff, sizeof(selector->protocols));
		return;
	}
	for (size_t i = 0; i < rule->protocol_count; i++) {
		uint8_t proto = rule->protocols[i];

		if (proto != PROTO_ICMPV6)
			selector->protocols[FAMILY_V4][proto / 64] |= 1ull << (proto % 64);
		if (proto != PROTO_ICMP)
			selector->protocols[FAMILY_V6][proto / 64] |= 1ull << (proto % 64);
	}
}

int selector_init(struct selector *selector, const struct rule *rule)
{
	const struct address_list *addresses[SIDE_COUNT] = { &rule->local, &rule->remote };
	const struct port_list *ports[SIDE_COUNT] = { &rule->local_port, &rule->remote_port };
	int err = 0;

	*selector = (struct selector){ .rule = rule };
	set_protocols(selector);
	err = merge_ports(&rule->vlan, &selector->vlan);
	if (!err)
		err = merge_dscps(&rule->dscp, &selector->dscp);
	for (int side = 0; side < SIDE_COUNT && !err; side++) {
		err = merge_ports(ports[side], &selector->port[side]);
		for (int family = 0; family < FAMILY_COUNT && !err; family++)
			err = address_list_of_family(addresses[side], family,
						     &selector->address[side][family]);
	}
	return err;
}

void selector_fini(struct selector *selector)
{
	for (int side = 0; side < SIDE_COUNT; side++) {
		free(selector->port[side].items);
		for (int family = 0; family < FAMILY_COUNT; family++)
			free(selector->address[side][family].items);
	}
	free(selector->vlan.items);
	free(selector->dscp.items);
	*selector = (struct selector){ 0 };
}

bool selector_matches_family(const struct selector *selector, enum ip_family family)
{
	const uint64_t *protocols = selector->protocols[family];

	return selector->address[SIDE_LOCAL][family].count &&
	       selector->address[SIDE_REMOTE][family].count &&
	       (protocols[0] || protocols[1] || protocols[2] || protocols[3]);
}

bool address_list_covers(const struct address_list *outer, const struct address_list *inner)
{
	size_t o = 0;

	/* Merged ranges do not touch: each inner one must lie within a single outer one. */
	for (size_t i = 0; i < inner->count; i++) {
		while (o < outer->count &&
		       addr128_compare(outer->items[o].hi, inner->items[i].lo) < 0)
			o++;
		if (o == outer->count ||
		    addr128_compare(outer->items[o].lo, inner->items[i].lo) > 0 ||
		    addr128_compare(outer->items[o].hi, inner->items[i].hi) < 0)
			return false;
	}
	return true;
}

/* Ports 0-65535 are not "any": a later fragment has no ports and matches only the latter. */
static bool ports_cover(const struct port_list *outer, const struct port_list *inner)
{
	size_t o = 0;

	if (!outer->count)
		return true;
	if (!inner->count)
		return false;
	for (size_t i = 0; i < inner->count; i++) {
		while (o < outer->count && outer->items[o].hi < inner->items[i].lo)
			o++;
		if (o == outer->count || outer->items[o].lo > inner->items[i].lo ||
		    outer->items[o].hi < inner->items[i].hi)
			return false;
	}
	return true;
}

static bool icmp_covers(const struct rule *outer, const struct rule *inner)
{
	if (!outer->icmp_given)
		return true;
	return inner->icmp_given && outer->icmp_type_lo <= inner->icmp_type_lo &&
	       outer->icmp_type_hi >= inner->icmp_type_hi &&
	       outer->icmp_code_lo <= inner->icmp_code_lo &&
	       outer->icmp_code_hi >= inner->icmp_code_hi;
}

static bool pattern_covers(const char *outer, const char *inner)
{
	if (!strcmp(outer, inner) || !strcmp(outer, "*"))
		return true;
	return !strpbrk(inner, "*?[\\") && !fnmatch(outer, inner, 0);
}

static bool interfaces_cover(const struct rule *outer, const struct rule *inner)
{
	for (size_t i = 0; i < inner->interface_count; i++) {
		size_t o = 0;

		while (o < outer->interface_count &&
		       !pattern_covers(outer->interfaces[o], inner->interfaces[i]))
			o++;
		if (outer->interface_count && o == outer->interface_count)
			return false;
	}
	for (size_t o = 0; o < outer->interface_count && !inner->interface_count; o++)
		if (!strcmp(outer->interfaces[o], "*"))
			return true;
	return inner->interface_count || !outer->interface_count;
}

static bool family_covers(const struct selector *outer, const struct selector *inner, int family)
{
	for (int side = 0; side < SIDE_COUNT; side++)
		if (!address_list_covers(&outer->address[side][family],
					 &inner->address[side][family]))
			return false;
	for (int word = 0; word < 4; word++)
		if (inner->protocols[family][word] & ~outer->protocols[family][word])
			return false;
	return true;
}

bool selector_covers_interfaces(const struct selector *outer, const struct selector *inner)
{
	return interfaces_cover(outer->rule, inner->rule);
}

bool selector_covers_upper(const struct selector *outer, const struct selector *inner)
{
	const struct rule *o = outer->rule, *i = inner->rule;

	if (o->direction != RULE_BOTH && o->direction != i->direction)
		return false;
	if (o->origin != ORIGIN_ANY && o->origin != i->origin)
		return false;
	return ports_cover(&outer->port[SIDE_LOCAL], &inner->port[SIDE_LOCAL]) &&
	       ports_cover(&outer->port[SIDE_REMOTE], &inner->port[SIDE_REMOTE]) &&
	       ports_cover(&outer->vlan, &inner->vlan) && ports_cover(&outer->dscp, &inner->dscp) &&
	       icmp_covers(o, i) && interfaces_cover(o, i);
}

bool selector_covers(const struct selector *outer, const struct selector *inner)
{
	if (!selector_covers_upper(outer, inner))
		return false;
	for (int family = 0; family < FAMILY_COUNT; family++)
		if (selector_matches_family(inner, family) && !family_covers(outer, inner, family))
			return false;
	return true;
}

/* ---- what two have in common ---- */

static bool addresses_meet(const struct address_list *a, const struct address_list *b)
{
	size_t i = 0, k = 0;

	while (i < a->count && k < b->count) {
		if (addr128_compare(a->items[i].hi, b->items[k].lo) < 0)
			i++;
		else if (addr128_compare(b->items[k].hi, a->items[i].lo) < 0)
			k++;
		else
			return true;
	}
	return false;
}

static bool ports_meet(const struct port_list *a, const struct port_list *b)
{
	size_t i = 0, k = 0;

	if (!a->count || !b->count)
		return true;
	while (i < a->count && k < b->count) {
		if (a->items[i].hi < b->items[k].lo)
			i++;
		else if (b->items[k].hi < a->items[i].lo)
			k++;
		else
			return true;
	}
	return false;
}

static bool family_meets(const struct selector *a, const struct selector *b, int family)
{
	uint64_t common = 0;

	for (int word = 0; word < 4; word++)
		common |= a->protocols[family][word] & b->protocols[family][word];
	for (int side = 0; side < SIDE_COUNT; side++)
		if (!addresses_meet(&a->address[side][family], &b->address[side][family]))
			return false;
	return common;
}

static bool icmp_meets(const struct rule *a, const struct rule *b)
{
	return !a->icmp_given || !b->icmp_given ||
	       (a->icmp_type_lo <= b->icmp_type_hi && b->icmp_type_lo <= a->icmp_type_hi &&
		a->icmp_code_lo <= b->icmp_code_hi && b->icmp_code_lo <= a->icmp_code_hi);
}

bool selector_overlaps(const struct selector *a, const struct selector *b)
{
	const struct rule *x = a->rule, *y = b->rule;

	if (x->direction != y->direction && x->direction != RULE_BOTH && y->direction != RULE_BOTH)
		return false;
	if (x->origin != y->origin && x->origin != ORIGIN_ANY && y->origin != ORIGIN_ANY)
		return false;
	return ports_meet(&a->port[SIDE_LOCAL], &b->port[SIDE_LOCAL]) &&
	       ports_meet(&a->port[SIDE_REMOTE], &b->port[SIDE_REMOTE]) && icmp_meets(x, y) &&
	       ports_meet(&a->vlan, &b->vlan) && ports_meet(&a->dscp, &b->dscp) &&
	       (interfaces_cover(x, y) || interfaces_cover(y, x)) &&
	       (family_meets(a, b, FAMILY_V4) || family_meets(a, b, FAMILY_V6));
}
