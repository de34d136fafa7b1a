using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace BankingDemo.Migrations.Postgres
{
    /// <inheritdoc />
    public partial class QuarantineRelease : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<string>(
                name: "ReleaseReason",
                table: "EnvelopeQuarantine",
                type: "text",
                nullable: true);
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropColumn(
                name: "ReleaseReason",
                table: "EnvelopeQuarantine");
        }
    }
}
