// SPDX-License-Identifier: BSD-2-Clause
#include "app_words.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "output.h"

void app_match_json(const struct app_match *match)
{
	const struct {
		const char *key, *value;
	} members[] = {
		{ "cgroup", match->cgroup }, { "unit", match->unit },
		{ "executable", match->exe }, { "user", match->user }, { "group", match->group },
	};

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (members[i].value)
			out_string(OUT_JSON, members[i].key, out_plain, members[i].value);
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
