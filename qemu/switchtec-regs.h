/*
 * Register layout of the Switchtec NTB endpoint's BAR 0 ("GAS")
 *
 * Offsets are relative to the block that their name starts with; a block's
 * _BASE is an offset into BAR 0. qemu/test_regs.py compares every macro of
 * this file with the structures of Linux' include/linux/switchtec.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_MISC_SWITCHTEC_REGS_H
#define HW_MISC_SWITCHTEC_REGS_H

#define SWITCHTEC_PARTITIONS            48

/* Management requests */
#define SWITCHTEC_MRPC_CMD              0x800
#define SWITCHTEC_MRPC_STATUS           0x804
#define SWITCHTEC_MRPC_RET_VALUE        0x808

/* System information; the partition's place depends on the generation */
#define SWITCHTEC_SYS_INFO_BASE         0x2000
#define SWITCHTEC_SYS_DEVICE_ID         0x000
#define SWITCHTEC_SYS_GEN3_PARTITION    0x018
#define SWITCHTEC_SYS_GEN3_VENDOR       0x108
#define SWITCHTEC_SYS_GEN3_PRODUCT      0x110
#define SWITCHTEC_SYS_GEN4_PARTITION    0x048
#define SWITCHTEC_SYS_GEN4_VENDOR       0x13c
#define SWITCHTEC_SYS_GEN4_PRODUCT      0x144
#define SWITCHTEC_SYS_INFO_SIZE         0x200

/* Partition configuration, one block a partition */
#define SWITCHTEC_PART_CFG_BASE         0x4000
#define SWITCHTEC_PART_CFG_SIZE         0x400
#define SWITCHTEC_PART_CFG_USP_PFF      0x010
#define SWITCHTEC_PART_CFG_VEP_PFF      0x014
#define SWITCHTEC_PART_CFG_DSP_PFF      0x018
#define SWITCHTEC_PART_CFG_DSP_PFFS     47
#define SWITCHTEC_PART_CFG_MRPC_COMP    0x13c

/* NTB information, seen from the endpoint that reads */
#define SWITCHTEC_NTB_BASE              0x10000
#define SWITCHTEC_NTB_PARTITION_COUNT   0x000
#define SWITCHTEC_NTB_PARTITION_ID      0x001
#define SWITCHTEC_NTB_EP_MAP            0x004
#define SWITCHTEC_NTB_REQUESTER_ID      0x00c
#define SWITCHTEC_NTB_PART_INFO         0x020
#define SWITCHTEC_NTB_PART_INFO_SIZE    0x010
#define SWITCHTEC_NTB_TARGET_LOW        0x024
#define SWITCHTEC_NTB_TARGET_HIGH       0x028

/* NTB control, one block a partition */
#define SWITCHTEC_CTRL_BASE             0x14000
#define SWITCHTEC_CTRL_SIZE             0x2000
#define SWITCHTEC_CTRL_STATUS           0x000
#define SWITCHTEC_CTRL_OP               0x004
#define SWITCHTEC_CTRL_LUT_ENTRIES      0x014
#define SWITCHTEC_CTRL_REQ_ID_SIZE      0x01c
#define SWITCHTEC_CTRL_BARS             6
#define SWITCHTEC_CTRL_BAR              0x040
#define SWITCHTEC_CTRL_BAR_SIZE         0x010
#define SWITCHTEC_CTRL_BAR_WIN          0x044
#define SWITCHTEC_CTRL_BAR_XLATE        0x048
#define SWITCHTEC_CTRL_BAR_EXT          0x0a0
#define SWITCHTEC_CTRL_BAR_EXT_SIZE     0x010
#define SWITCHTEC_CTRL_REQ_ID           0x400
#define SWITCHTEC_CTRL_REQ_IDS          512
#define SWITCHTEC_CTRL_LUT              0x1000
#define SWITCHTEC_CTRL_LUTS             512

/* Doorbells and messages, one block a partition */
#define SWITCHTEC_DBMSG_BASE            0x74000
#define SWITCHTEC_DBMSG_SIZE            0x4000
#define SWITCHTEC_DBMSG_ODB             0x1000
#define SWITCHTEC_DBMSG_ODB_MASK        0x1008
#define SWITCHTEC_DBMSG_IDB             0x1010
#define SWITCHTEC_DBMSG_IDB_MASK        0x1018
#define SWITCHTEC_DBMSG_VEC_MAP         0x1020
#define SWITCHTEC_DBMSG_VECS            64
#define SWITCHTEC_DBMSG_MSG_MAP         0x1060
#define SWITCHTEC_DBMSG_MSGS            4
#define SWITCHTEC_DBMSG_OMSG            0x1068
#define SWITCHTEC_DBMSG_IMSG            0x1088
#define SWITCHTEC_DBMSG_IMSG_SIZE       0x008
#define SWITCHTEC_DBMSG_MSIX            0x2000
#define SWITCHTEC_DBMSG_PBA             0x3000

/* Ports ("PCI function frames") */
#define SWITCHTEC_PFF_BASE              0x134000
#define SWITCHTEC_PFF_SIZE              0x1000
#define SWITCHTEC_PFF_VENDOR            0x000
#define SWITCHTEC_PFF_LINK_STATUS       0x074
#define SWITCHTEC_PFF_LINK_STATE        0xd30

#endif /* HW_MISC_SWITCHTEC_REGS_H */
