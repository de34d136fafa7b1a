using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace BankingDemo.Migrations.Sqlite
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
                type: "TEXT",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "CompromisedAt",
                table: "EnvelopeKeys",
                type: "INTEGER",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "DestructionDueAt",
                table: "EnvelopeKeys",
                type: "INTEGER",
                nullable: true);

            migrationBuilder.AddColumn<int>(
                name: "FormerState",
                table: "EnvelopeKeys",
                type: "INTEGER",
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
