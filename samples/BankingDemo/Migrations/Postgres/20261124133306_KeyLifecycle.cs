using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace BankingDemo.Migrations.Postgres
{
    /// <inheritdoc />
    public partial class KeyLifecycle : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<string>(
                name: "ChangedBy",
                table: "EnvelopeKeys",
                type: "text",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "CompromisedAt",
                table: "EnvelopeKeys",
                type: "bigint",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "DestructionDueAt",
                table: "EnvelopeKeys",
                type: "bigint",
                nullable: true);

            migrationBuilder.AddColumn<int>(
                name: "FormerState",
                table: "EnvelopeKeys",
                type: "integer",
                nullable: true);
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropColumn(
                name: "ChangedBy",
                table: "EnvelopeKeys");

            migrationBuilder.DropColumn(
                name: "CompromisedAt",
                table: "EnvelopeKeys");

            migrationBuilder.DropColumn(
                name: "DestructionDueAt",
                table: "EnvelopeKeys");

            migrationBuilder.DropColumn(
                name: "FormerState",
                table: "EnvelopeKeys");
        }
    }
}
