// SPDX-License-Identifier: BSD-2-Clause
#include "app_words.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

/* A number, or a name, which no policy has of digits alone. */
static void show_account(const char *key, const char *value)
{
	if (value[strspn(value, "0123456789")])
		out_string(OUT_JSON, key, out_plain, value);
	else
		out_uint(OUT_JSON, key, out_plain, strtoul(value, NULL, 10));
}

void app_match_json(const struct app_match *match)
{
	const struct {
		const char *key, *value;
	} members[] = {
		{ "cgroup", match->cgroup }, { "unit", match->unit },
		{ "executable", match->exe },
	};

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (members[i].value)
			out_string(OUT_JSON, members[i].key, out_plain, members[i].value);
	if (match->user)
		show_account("user", match->user);
	if (match->group)
		show_account("group", match->group);
}

const char *app_end_text(const struct socket_name *name, char *out, size_t out_len)
{
	static const union wire_addr any;
	char text[INET6_ADDRSTRLEN];
	bool v6 = name->family == FAMILY_V6;

	if (!name->port) {
		snprintf(out, out_len, "-");
		return out;
	}
	inet_ntop(v6 ? AF_INET6 : AF_INET, name->addr.b, text, sizeof(text));
	if (!memcmp(&name->addr, &any, sizeof(any)))
		snprintf(out, out_len, v6 ? "[*]:%u" : "*:%u", ntohs(name->port));
	else
		snprintf(out, out_len, v6 ? "[%s]:%u" : "%s:%u", text, ntohs(name->port));
	return out;
}
