using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace BankingDemo.Migrations.Sqlite
{
    /// <inheritdoc />
    public partial class RingDatabases : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropPrimaryKey(
                name: "PK_EnvelopeColumns",
                table: "EnvelopeColumns");

            migrationBuilder.AddColumn<long>(
                name: "SealingLeaseTicks",
                table: "EnvelopeRing",
                type: "INTEGER",
                nullable: false,
                defaultValue: 0L);

            migrationBuilder.AddColumn<string>(
                name: "DatabaseName",
                table: "EnvelopeColumns",
                type: "TEXT",
                nullable: false,
                defaultValue: "");

            migrationBuilder.AddPrimaryKey(
                name: "PK_EnvelopeColumns",
                table: "EnvelopeColumns",
                columns: new[] { "DatabaseName", "TableName", "ColumnName" });
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropPrimaryKey(
                name: "PK_EnvelopeColumns",
                table: "EnvelopeColumns");

            migrationBuilder.DropColumn(
                name: "SealingLeaseTicks",
                table: "EnvelopeRing");

            migrationBuilder.DropColumn(
                name: "DatabaseName",
                table: "EnvelopeColumns");

            migrationBuilder.AddPrimaryKey(
                name: "PK_EnvelopeColumns",
                table: "EnvelopeColumns",
                columns: new[] { "TableName", "ColumnName" });
        }
    }
}
