using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace BankingDemo.Migrations.Postgres
{
    /// <inheritdoc />
    public partial class QuarantineDigest : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<byte[]>(
                name: "Digest",
                table: "EnvelopeQuarantine",
                type: "bytea",
                nullable: true);

            migrationBuilder.AddColumn<Guid>(
                name: "RunId",
                table: "EnvelopeQuarantine",
                type: "uuid",
                nullable: true);

            migrationBuilder.CreateIndex(
                name: "IX_EnvelopeQuarantine_Digest",
                table: "EnvelopeQuarantine",
                column: "Digest",
                unique: true);
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropIndex(
                name: "IX_EnvelopeQuarantine_Digest",
                table: "EnvelopeQuarantine");

            migrationBuilder.DropColumn(
                name: "Digest",
                table: "EnvelopeQuarantine");

            migrationBuilder.DropColumn(
                name: "RunId",
                table: "EnvelopeQuarantine");
        }
    }
}
