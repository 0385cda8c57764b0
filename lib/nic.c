// SPDX-License-Identifier: BSD-2-Clause
#include "nic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int ask(int fd, unsigned long request, const char *ifname, struct ifreq *ret_request)
{
	memset(ret_request, 0, sizeof(*ret_request));
	snprintf(ret_request->ifr_name, sizeof(ret_request->ifr_name), "%s", ifname);
	return ioctl(fd, request, ret_request) ? -errno : 0;
}

static int ask_ethtool(int fd, const char *ifname, void *command)
{
	struct ifreq request = { 0 };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
	request.ifr_data = command;
	return ioctl(fd, SIOCETHTOOL, &request) ? -errno : 0;
}

static uint32_t count_queues(int fd, const char *ifname)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };

	if (ask_ethtool(fd, ifname, &channels))
		return 1;
	channels.rx_count += channels.combined_count;
	return channels.rx_count ? channels.rx_count : 1;
}

int nic_read(const char *ifname, struct nic *ret_nic)
{
	struct ethtool_drvinfo driver = { .cmd = ETHTOOL_GDRVINFO };
	struct nic nic = { 0 };
	struct ifreq request;
	int err, fd;

	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = ask(fd, SIOCGIFINDEX, ifname, &request);
	if (err)
		goto out;
	nic.ifindex = (uint32_t)request.ifr_ifindex;
	err = ask(fd, SIOCGIFHWADDR, ifname, &request);
	if (err)
		goto out;
	nic.ethernet = request.ifr_hwaddr.sa_family == ARPHRD_ETHER;
	memcpy(nic.mac, request.ifr_hwaddr.sa_data, sizeof(nic.mac));
	err = ask(fd, SIOCGIFMTU, ifname, &request);
	if (err)
		goto out;
	nic.mtu = (uint32_t)request.ifr_mtu;
	err = ask(fd, SIOCGIFFLAGS, ifname, &request);
	if (err)
		goto out;
	nic.up = request.ifr_flags & IFF_UP;
	nic.loopback = request.ifr_flags & IFF_LOOPBACK;
	nic.queues = count_queues(fd, ifname);
	if (!ask_ethtool(fd, ifname, &driver))
		snprintf(nic.driver, sizeof(nic.driver), "%s", driver.driver);
	*ret_nic = nic;
out:
	close(fd);
	return err;
}

static bool equal_address(const struct sockaddr *have, const char *address)
{
	char text[INET6_ADDRSTRLEN] = "";

	if (have && have->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)have)->sin_addr,
			  text, sizeof(text));
	else if (have && have->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)have)->sin6_addr,
			  text, sizeof(text));
	return *text && !strcmp(text, address);
}

/* Is this address (as text) one of the interface's? */
static bool has_address(const char *ifname, const char *address)
{
	struct ifaddrs *list;
	bool found = false;

	if (getifaddrs(&list))
		return false;
	for (const struct ifaddrs *at = list; at && !found; at = at->ifa_next)
		found = !strcmp(at->ifa_name, ifname) && equal_address(at->ifa_addr, address);
	freeifaddrs(list);
	return found;
}

bool nic_carries_session(const char *ifname)
{
	const char *connection = getenv("SSH_CONNECTION");
	char client[64], port[16], server[64];

	return connection && sscanf(connection, "%63s %15s %63s", client, port, server) == 3 &&
	       has_address(ifname, server);
}
