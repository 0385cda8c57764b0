// SPDX-License-Identifier: BSD-2-Clause
/*
 * The resolver itself, in its sandbox. Addresses are what getaddrinfo(3) says, so that /etc/hosts
 * and nsswitch.conf(5) hold; TTL and DNSSEC state are those of DNS, if DNS says the same addresses.
 */
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "names_resolver.h"
#include "sandbox.h"

#ifndef RES_TRUSTAD
#define RES_TRUSTAD 0x04000000
#endif

#define TRY_SECONDS 2	/* of one server, for one question */
#define TRIES	    2
#define DNS_MESSAGE_MAX 65535

/* One record under construction. */
struct reply {
	struct names_reply head;
	struct names_reply_address addresses[NAMES_ADDRESSES_MAX];
};

static void add(struct reply *reply, enum ip_family family, const void *octets)
{
	struct names_reply_address address = { .family = (uint8_t)family };

	memcpy(address.address.b, octets, family == FAMILY_V4 ? 4 : 16);
	for (uint32_t i = 0; i < reply->head.count; i++)
		if (!memcmp(&reply->addresses[i], &address, sizeof(address)))
			return;
	if (reply->head.count == NAMES_ADDRESSES_MAX)
		reply->head.failure = NAMES_TOO_MANY;
	else
		reply->addresses[reply->head.count++] = address;
}

static bool has(const struct reply *reply, const struct names_reply_address *address)
{
	for (uint32_t i = 0; i < reply->head.count; i++)
		if (!memcmp(&reply->addresses[i], address, sizeof(*address)))
			return true;
	return false;
}

/* ---- getaddrinfo --------------------------------------------------------------------------- */

static enum names_failure host_failure(int error)
{
	switch (error) {
	case EAI_NONAME:
		return NAMES_NO_NAME;
	case EAI_NODATA:
		return NAMES_NO_ADDRESS;
	case EAI_AGAIN:
	case EAI_FAIL:
		return NAMES_SERVER;
	default:
		return NAMES_RESOLVER;
	}
}

static void ask_host(const char *name, struct reply *reply)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	int error = getaddrinfo(name, NULL, &hints, &list);

	if (error) {
		reply->head.failure = host_failure(error);
		return;
	}
	for (const struct addrinfo *info = list; info; info = info->ai_next) {
		if (info->ai_family == AF_INET)
			add(reply, FAMILY_V4,
			    &((const struct sockaddr_in *)(const void *)info->ai_addr)->sin_addr);
		else if (info->ai_family == AF_INET6)
			add(reply, FAMILY_V6,
			    &((const struct sockaddr_in6 *)(const void *)info->ai_addr)->sin6_addr);
	}
	freeaddrinfo(list);
	if (!reply->head.count)
		reply->head.failure = NAMES_NO_ADDRESS;
}

/* Has the name a line of its own there? DNS is not asked for such. */
static bool in_hosts_file(const char *name)
{
	char line[4096], *rest, *word;
	bool found = false, first;
	FILE *in = fopen("/etc/hosts", "re");

	while (in && !found && fgets(line, sizeof(line), in)) {
		line[strcspn(line, "#")] = '\0';
		first = true;
		for (rest = line; !found && (word = strsep(&rest, " \t\n")); ) {
			if (!*word)
				continue;
			found = !first && !strcasecmp(word, name);
			first = false;
		}
	}
	if (in)
		fclose(in);
	return found;
}

/* ---- DNS ----------------------------------------------------------------------------------- */

struct dns {
	struct __res_state state;
	bool trusted;		/* what it says of DNSSEC counts */
	unsigned char message[DNS_MESSAGE_MAX];
	struct reply reply;	/* both families, without failure: what DNS has */
	unsigned int unanswered;	/* of the two questions */
};

/* The administrator says so in resolv.conf (trust-ad), or every server is on this host. (Those of
 * IPv6 are kept elsewhere and have no family here: for ::1 it has to be said.) */
static bool is_trusted(res_state state)
{
	if (state->options & RES_TRUSTAD)
		return true;
	for (int i = 0; i < state->nscount; i++)
		if (state->nsaddr_list[i].sin_family != AF_INET ||
		    ntohl(state->nsaddr_list[i].sin_addr.s_addr) >> 24 != 127)
			return false;
	return state->nscount > 0;
}

static void set_up(res_state state, const char *name)
{
	state->retrans = TRY_SECONDS;
	state->retry = TRIES;
	if (strchr(name, '.'))
		state->options &= ~(unsigned long)(RES_DNSRCH | RES_DEFNAMES);
}

static bool open_dns(struct dns *dns, const char *name)
{
	if (res_ninit(&dns->state))
		return false;
	set_up(&dns->state, name);
	dns->trusted = is_trusted(&dns->state);
	dns->state.options |= RES_TRUSTAD;
	return true;
}

/* The addresses of one answer; the least TTL of all its records, CNAMEs among them. False: it is no
 * message that could be read to its end. */
static bool take_message(struct dns *dns, int len, int type)
{
	struct names_reply *head = &dns->reply.head;
	size_t octets = type == ns_t_a ? 4 : 16;
	ns_msg message;
	ns_rr record;

	if (ns_initparse(dns->message, len, &message))
		return false;
	for (int i = 0; i < ns_msg_count(message, ns_s_an); i++) {
		if (ns_parserr(&message, ns_s_an, i, &record))
			return false;
		if (ns_rr_ttl(record) < head->ttl)
			head->ttl = ns_rr_ttl(record);
		if ((int)ns_rr_type(record) != type || ns_rr_class(record) != ns_c_in)
			continue;
		if (ns_rr_rdlen(record) != octets)
			return false;
		add(&dns->reply, type == ns_t_a ? FAMILY_V4 : FAMILY_V6, ns_rr_rdata(record));
	}
	if (!ns_msg_getflag(message, ns_f_ad))
		head->secure = 0;
	return true;
}

static void ask_dns(struct dns *dns, const char *name, int type)
{
	int len;

	/* What is denied comes with its message as well, though not with its length. */
	memset(dns->message, 0, sizeof(HEADER));
	len = res_nsearch(&dns->state, name, ns_c_in, type, dns->message,
			      sizeof(dns->message));

	if (len > (int)sizeof(dns->message))
		len = -1;
	if (len < 0 && dns->state.res_h_errno == NO_DATA) {
		/* There is the name, and no such address. */
		if (!((const HEADER *)(const void *)dns->message)->ad)
			dns->reply.head.secure = 0;
		return;
	}
	if (len < 0 && dns->state.res_h_errno == HOST_NOT_FOUND) {
		dns->reply.head.failure = NAMES_NO_NAME;
		return;
	}
	if (len < 0 || !take_message(dns, len, type))
		dns->unanswered++;
}

/*
 * What DNS says of the same name. An answer for one family alone is none: what the policy would not
 * know of the other could pass by another rule.
 */
static void compare_with_dns(const char *name, struct reply *reply)
{
	static struct dns dns;

	memset(&dns, 0, sizeof(dns));
	if (!open_dns(&dns, name))
		return;
	dns.reply.head.ttl = UINT32_MAX;
	dns.reply.head.secure = dns.trusted;
	ask_dns(&dns, name, ns_t_a);
	ask_dns(&dns, name, ns_t_aaaa);
	res_nclose(&dns.state);
	if (dns.unanswered) {
		reply->head.failure = dns.unanswered == 1 ? NAMES_PARTLY : NAMES_SERVER;
		return;
	}
	if (dns.reply.head.failure == NAMES_TOO_MANY)
		reply->head.failure = NAMES_TOO_MANY;
	if (dns.reply.head.failure || !dns.reply.head.count)
		return;		/* the name is not from DNS */
	for (uint32_t i = 0; i < reply->head.count; i++)
		if (!has(&dns.reply, &reply->addresses[i]))
			return;
	dns.reply.head.index = reply->head.index;
	dns.reply.head.magic = reply->head.magic;
	if (dns.reply.head.ttl == 0)
		dns.reply.head.ttl = 1;		/* 0 means another thing here */
	*reply = dns.reply;
}

/* ---- the process --------------------------------------------------------------------------- */

/* Modules that nsswitch.conf names are loaded while that is allowed; without it, libc knows two. */
static void load_modules(void)
{
	char line[1024], path[128], *rest, *word;
	FILE *in = fopen("/etc/nsswitch.conf", "re");

	while (in && fgets(line, sizeof(line), in)) {
		if (strncmp(line, "hosts:", 6))
			continue;
		line[strcspn(line, "#")] = '\0';
		for (rest = line + 6; (word = strsep(&rest, " \t\n")); ) {
			if (!*word || strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789_") !=
					      strlen(word))
				continue;
			snprintf(path, sizeof(path), "libnss_%.64s.so.2", word);
			dlopen(path, RTLD_NOW);
		}
	}
	if (in)
		fclose(in);
}

static void look_up(const char *name, struct reply *reply)
{
	if (res_init()) {
		reply->head.failure = NAMES_RESOLVER;
		return;
	}
	set_up(&_res, name);
	ask_host(name, reply);
	if (reply->head.failure == NAMES_NONE && !in_hosts_file(name))
		compare_with_dns(name, reply);
	if (reply->head.failure) {
		reply->head.count = 0;
		reply->head.ttl = reply->head.secure = 0;
	}
}

void names_child(const char *name, size_t index, int fd)
{
	static struct reply reply = { .head.magic = NAMES_REPLY_MAGIC };
	size_t len;

	load_modules();
	if (sandbox_resolver())
		_exit(1);
	reply.head.index = (uint32_t)index;
	look_up(name, &reply);
	len = sizeof(reply.head) + reply.head.count * sizeof(reply.addresses[0]);
	_exit(send(fd, &reply, len, MSG_NOSIGNAL) != (ssize_t)len);
}
