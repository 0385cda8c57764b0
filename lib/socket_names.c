// SPDX-License-Identifier: BSD-2-Clause
#include "socket_names.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static bool take_name(const struct sockaddr_storage *from, struct socket_name *ret_name)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
	struct socket_name name = { .family = FAMILY_V4 };

	if (from->ss_family == AF_INET) {
		name.port = v4->sin_port;
		memcpy(name.addr.b, &v4->sin_addr, sizeof(v4->sin_addr));
	} else if (from->ss_family == AF_INET6) {
		name.port = v6->sin6_port;
		if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
			memcpy(name.addr.b, v6->sin6_addr.s6_addr + 12, 4);
		} else {
			name.family = FAMILY_V6;
			memcpy(name.addr.b, &v6->sin6_addr, sizeof(v6->sin6_addr));
		}
	}
	*ret_name = name;
	return name.port != 0;
}

bool socket_local(int fd, struct socket_name *ret_name)
{
	struct sockaddr_storage from = { 0 };
	socklen_t len = sizeof(from);

	return !getsockname(fd, (struct sockaddr *)&from, &len) && take_name(&from, ret_name);
}

bool socket_remote(int fd, struct socket_name *ret_name)
{
	struct sockaddr_storage from = { 0 };
	socklen_t len = sizeof(from);

	return !getpeername(fd, (struct sockaddr *)&from, &len) && take_name(&from, ret_name);
}

static bool is_any(const union wire_addr *addr)
{
	return !(addr->w[0] | addr->w[1] | addr->w[2] | addr->w[3]);
}

static bool is_v6_only(int fd)
{
	socklen_t len = sizeof(int);
	int only = 0;

	return !getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len) && only;
}

int socket_endpoints(int fd, uint8_t proto, struct app_endpoint_key keys[APP_ENDPOINT_KEYS])
{
	struct socket_name local;

	if (!socket_local(fd, &local))
		return 0;
	keys[0] = (struct app_endpoint_key){
		.local = local.addr, .port = local.port, .proto = proto, .family = local.family,
	};
	if (local.family == FAMILY_V4 || !is_any(&local.addr) || is_v6_only(fd))
		return 1;
	keys[1] = keys[0];
	keys[1].family = FAMILY_V4;
	return 2;
}

bool socket_flow(int fd, uint8_t proto, struct app_flow_key *ret_key)
{
	struct socket_name local, remote;

	if (!socket_local(fd, &local) || !socket_remote(fd, &remote) ||
	    local.family != remote.family)
		return false;
	*ret_key = (struct app_flow_key){
		.local = local.addr, .remote = remote.addr,
		.local_port = local.port, .remote_port = remote.port,
		.proto = proto, .family = local.family,
	};
	return true;
}
