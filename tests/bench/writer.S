/* A guest that does nothing but write: 4 KiB to a random cluster of its first
 * disk, then a full stop to port 0xe9, and again.  SPDX-License-Identifier:
 * AGPL-3.0-or-later.  CLUSTERS, of 64 KiB, is set by the assembler's --defsym. */
        .code16
        .globl  _start
_start:
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
next:
        movl    seed, %eax
        movl    $1103515245, %ecx
        mull    %ecx
        addl    $12345, %eax
        movl    %eax, seed
        shrl    $8, %eax
        xorl    %edx, %edx
        movl    $CLUSTERS, %ecx
        divl    %ecx
        shll    $7, %edx                /* its first sector */
        movl    %edx, sector
        movw    $packet, %si
        movw    $0x4300, %ax            /* BIOS: extended write */
        movb    $0x80, %dl              /* the first disk */
        int     $0x13
        movb    $'.', %al
        jnc     say
        movb    $'!', %al
say:
        outb    %al, $0xe9
        jmp     next

        .balign 4
seed:   .long   1
packet: .byte   16, 0
        .word   8                       /* sectors */
        .word   0x8000, 0               /* from this address */
sector: .quad   0
        .org    510
        .word   0xaa55
