/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* Error numbers, which the kernel's types do not have. */

#define ERR_PERM 1
#define ERR_INTR 4
#define ERR_ACCES 13
#define ERR_INVAL 22
#define ERR_ADDRNOTAVAIL 99
#define ERR_NETUNREACH 101
#define ERR_CONNABORTED 103
#define ERR_CONNRESET 104
#define ERR_ISCONN 106
#define ERR_TIMEDOUT 110
#define ERR_CONNREFUSED 111
#define ERR_HOSTUNREACH 113
#define ERR_ALREADY 114
#define ERR_INPROGRESS 115
#define ERR_RESTART 512 /* from here on: not for user space, the call begins again */
